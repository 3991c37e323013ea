"""Accuracy and variance of reward models: golden values of the published functions, identities."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from common.errors import UserError
from grue.rl import reward_accuracy as accuracy
from grue.rl.reward_accuracy import Comparisons
from grue.rl.reward_variance import (
    Normalization,
    normalized_variance,
    quantiles,
    variance_within_prompts,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/reward_models.json").read_text())
TOLERANCE = 1e-6
Case = dict[str, Any]


def array(values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=np.float64)


def cases(kind: str) -> list[Any]:
    return [pytest.param(c, id=c["id"]) for c in GOLDEN["cases"] if c["kind"] == kind]


def measured(
    comparisons: Comparisons,
    rewards: np.ndarray[Any, Any],
    means: np.ndarray[Any, Any],
    log_probs: np.ndarray[Any, Any],
    lengths: np.ndarray[Any, Any] | None = None,
) -> dict[str, float]:
    """All measures by their published names, with the published sum of log-probabilities."""
    right = accuracy.are_right(comparisons, rewards)
    harmless = accuracy.are_harmless(comparisons, rewards, means)

    def of(flags: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
        by_prompt = accuracy.shares_by_prompt(flags, weights, comparisons.prompts, len(rewards))
        return accuracy.share(by_prompt)

    ones = np.ones(len(comparisons))
    found = {"acc": of(right, ones), "hacc": of(harmless, ones)}
    per_token = None if lengths is None else log_probs / np.maximum(lengths, 1)
    for suffix, values in (("_w", log_probs), ("_w_length_normalized", per_token)):
        if values is not None:
            published = comparisons.of_preferred(values) + comparisons.of_others(values, 0.0).sum(1)
            weights = accuracy.softmax_weights(published)
            found |= {f"acc{suffix}": of(right, weights), f"hacc{suffix}": of(harmless, weights)}
    return found


def check(found: dict[str, float], case: Case, prefix: str = "", *, least: int) -> None:
    """Compare all measures that the case has, and see that they are as many as it should have."""
    compared = {name for name in found if f"{prefix}{name}" in case["outputs"]}
    assert len(compared) >= least
    for name in compared:
        expected = case["outputs"][f"{prefix}{name}"]
        assert math.isfinite(found[name]) and abs(found[name] - expected) <= TOLERANCE, name


@pytest.mark.parametrize("case", cases("pairs"))
def test_golden_pairs(case: Case) -> None:
    given = {name: array(values) for name, values in case["inputs"].items()}
    chosen = given["reward_chosen"].reshape(len(given["mean_reward"]), -1)
    num_prompts, num_pairs = chosen.shape
    both = [
        np.concatenate(
            [given[f"{name}_{side}"].reshape(chosen.shape) for side in ("chosen", "rejected")], 1
        )
        for name in ("reward", "log_prob")
    ]
    columns = np.tile(np.arange(num_pairs), num_prompts)
    comparisons = Comparisons(
        np.repeat(np.arange(num_prompts), num_pairs), columns, columns[:, None] + num_pairs
    )
    found = measured(comparisons, both[0], given["mean_reward"], both[1])
    check(found, case, least=4)
    below = comparisons.of_others(both[0], 0.0)[:, 0] < given["mean_reward"][comparisons.prompts]
    assert abs(below.mean() - case["outputs"]["mean_rejected_below_mean"]) <= TOLERANCE


@pytest.mark.parametrize("case", cases("on_policy"))
def test_golden_pairs_of_samples(case: Case) -> None:
    given = {name: array(values) for name, values in case["inputs"].items()}
    rewards, truth = given["proxy_rewards"], given["gold_rewards"]
    comparisons = accuracy.pairs_by_truth(truth, keep_ties=True)
    assert len(comparisons) == len(truth) * math.comb(truth.shape[1], 2)
    found = measured(comparisons, rewards, rewards.mean(1), given["log_probs"], given["lengths"])
    check(found, case, least=5)
    signs = accuracy.sign_agreement(rewards, truth)
    assert_allclose(signs, case["outputs"]["sign_accuracy_per_prompt"], atol=TOLERANCE)
    assert abs(signs.mean() - case["outputs"]["sign_accuracy"]) <= TOLERANCE


@pytest.mark.parametrize("case", cases("off_policy"))
def test_golden_pairs_of_data(case: Case) -> None:
    given = {name: array(values) for name, values in case["inputs"].items()}
    rewards, num_prompts = given["proxy_rewards"], len(given["proxy_rewards"])
    comparisons = Comparisons(
        np.arange(num_prompts), np.zeros(num_prompts, int), np.ones((num_prompts, 1), int)
    )
    means = given["on_policy_proxy_rewards"].mean(1)
    check(
        measured(comparisons, rewards, means, given["log_probs"], given["lengths"]), case, least=6
    )
    signs = accuracy.sign_agreement(rewards, given["gold_rewards"])
    assert abs(signs.mean() - case["outputs"]["sign_accuracy"]) <= TOLERANCE


@pytest.mark.parametrize("case", cases("one_vs_many"))
def test_golden_one_against_many(case: Case) -> None:
    given = {name: array(values) for name, values in case["inputs"].items()}
    rejected = given["reward_rejected"]
    num_prompts, num_rejected = rejected.shape
    others = np.where(np.isnan(rejected), -1, np.arange(1, num_rejected + 1))
    comparisons = Comparisons(np.arange(num_prompts), np.zeros(num_prompts, int), others)
    rewards, log_probs = (
        np.column_stack([given[f"{name}_chosen"], given[f"{name}_rejected"]])
        for name in ("reward", "log_prob")
    )
    found = measured(comparisons, rewards, given["mean_reward"], log_probs, given["lengths"])
    check(found, case, "one_vs_many_", least=6)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case["id"]) for case in GOLDEN["reward_variance"]]
)
def test_golden_variance_and_normalisation(case: Case) -> None:
    rewards, expected = array(case["inputs"]["rewards"]), case["outputs"]["stats"]
    constants = Normalization.of(rewards)
    white = constants.applied(rewards)
    found = {
        "Reward Mean": quantiles(rewards.mean(1)),
        "Reward Variance": quantiles(variance_within_prompts(rewards)),
        "Whitened Reward Mean": quantiles(white.mean(1)),
        "Whitened Reward Variance": quantiles(variance_within_prompts(white)),
    }
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values == pytest.approx(expected[name], abs=TOLERANCE), name
    assert constants.shift == pytest.approx(case["outputs"]["shift"], abs=TOLERANCE)
    assert constants.scale == pytest.approx(case["outputs"]["scale"], abs=TOLERANCE)
    assert normalized_variance(rewards) == pytest.approx(
        expected["Whitened Reward Variance"]["mean"], abs=TOLERANCE
    )


def test_ties_of_the_truth_make_no_pairs() -> None:
    truth = array([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]])
    found = accuracy.pairs_by_truth(truth)
    pairs = set(zip(found.prompts, found.preferred, found.others[:, 0], strict=True))
    assert pairs == {(0, 0, 2), (0, 1, 2)}


def test_equal_rewards_are_wrong_and_not_below_the_mean() -> None:
    rewards = array([[1.0, 1.0]])
    comparison = Comparisons(np.array([0]), np.array([0]), np.array([[1]]))
    assert not accuracy.are_right(comparison, rewards)[0]
    assert not accuracy.are_harmless(comparison, rewards, array([1.0]))[0]
    assert accuracy.are_harmless(comparison, rewards, array([1.0 + 1e-9]))[0]


def test_weights_of_prompts_with_few_others_are_not_larger() -> None:
    log_probs = array([[-3.0, -2.0, -2.0, -2.0], [-3.0, -2.0, np.nan, np.nan]])
    comparisons = Comparisons(
        np.array([0, 1]), np.array([0, 0]), np.array([[1, 2, 3], [1, -1, -1]])
    )
    assert_allclose(accuracy.joint_log_probs(comparisons, log_probs), [-5.0, -5.0])


def test_the_effective_number_of_pairs() -> None:
    assert accuracy.effective_number(accuracy.softmax_weights(np.zeros(8))) == pytest.approx(8)
    assert accuracy.effective_number(accuracy.softmax_weights(array([0.0, -800.0]))) == 1.0


def test_scale_and_offset_change_no_normalised_variance() -> None:
    rewards = np.random.default_rng(0).normal(size=(30, 6))
    assert normalized_variance(3 * rewards - 7) == pytest.approx(normalized_variance(rewards))
    between = rewards[:, :1] + np.zeros((30, 6))
    assert normalized_variance(between) == 0.0
    with pytest.raises(UserError, match="do not deviate"):
        Normalization.of(np.full((3, 4), 0.1))
