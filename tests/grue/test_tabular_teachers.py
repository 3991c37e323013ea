"""Tabular studies of reward models: gradients, what keys mean, and what runs leave."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from common.config.resolve import resolve
from grue.experiments.tabular_teachers.config import TabularTeachersConfig
from grue.experiments.tabular_teachers.studies import BEST, FIRST_BAD, MEDIOCRE, make_study
from grue.experiments.tabular_teachers.training import (
    exact_gradient,
    log_softmax,
    sampled_gradient,
    train,
)
from tests.conftest import Workplace

RNG = np.random.default_rng(3)
KL = 0.3


def config(**keys: Any) -> TabularTeachersConfig:
    found, problems = resolve(TabularTeachersConfig, {"random_seed": 0, **keys})
    assert found is not None, problems
    return found


def objective(logits: Any, log_probs: Any, rewards: Any) -> float:
    log_pi = log_softmax(logits)
    return float((np.exp(log_pi) * (rewards - KL * (log_pi - log_probs))).sum())


def test_the_exact_gradient_is_that_of_the_objective() -> None:
    logits, log_probs = RNG.normal(size=(2, 3, 4)), log_softmax(RNG.normal(size=(3, 4)))
    rewards, step = RNG.normal(size=(2, 3, 4)), 1e-6
    found = exact_gradient(logits, log_probs, rewards, KL)
    for place in np.ndindex(logits.shape):
        moved = np.zeros_like(logits)
        moved[place] = step
        ends = [objective(logits + sign * moved, log_probs, rewards) for sign in (1, -1)]
        assert found[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-8)


def test_the_sampled_gradient_is_exact_in_expectation() -> None:
    logits, log_probs = RNG.normal(size=(2, 1, 4)), log_softmax(RNG.normal(size=(1, 4)))
    rewards, expected = RNG.normal(size=(2, 1, 4)), np.zeros((2, 1, 4))
    for model in range(2):
        probs = np.exp(log_softmax(logits[model, 0]))
        middles = probs.cumsum() - probs / 2
        for i, j in np.ndindex(4, 4):
            uniforms = np.array([[middles[i], middles[j]]])
            one = sampled_gradient(
                logits[model, None], log_probs, rewards[model, None], KL, uniforms
            )
            expected[model] += probs[i] * probs[j] * one[0]
    assert_allclose(expected, exact_gradient(logits, log_probs, rewards, KL), atol=1e-12)


def test_noise_lowers_accuracy_and_offsets_lower_variance_alone() -> None:
    keys = {"kind": "noisy", "noise": [0.0, 1.0], "offset": [0.5, 2.0], "truth_mean": 5.0}
    study = make_study(config(num_prompts=2000, reward_models=keys), 1)
    assert study.names[:2] == ["truth", "truth scaled"] and len(study.names) == 6
    assert study.truth.var() == pytest.approx(1.0, abs=0.1)
    assert study.truth.var(1, ddof=1).mean() == pytest.approx(0.35, abs=0.02)
    by_name = dict(zip(study.names, study.rewards, strict=True))
    order = study.truth.argsort(1)
    assert (by_name["noise 0, offset 2"].argsort(1) == order).all()
    assert (by_name["noise 1, offset 0.5"].argsort(1) != order).mean() > 0.5
    probs = np.exp(study.log_probs)
    for offset in (0.5, 2.0):
        of_all = [by_name[f"noise {noise}, offset {offset:g}"] for noise in (0, 1)]
        means = [(probs * of).sum(1, keepdims=True) for of in of_all]
        within = [(probs * (of - mean) ** 2).sum(1) for of, mean in zip(of_all, means, strict=True)]
        assert within[0].mean() == pytest.approx(within[1].mean(), rel=0.03)
        assert_allclose(means[0], means[1], atol=1e-12)  # of offsets alone
        assert means[0].std() == pytest.approx(offset, rel=0.05)
    scaled = np.abs(by_name["truth scaled"] / study.truth).round(6)
    assert (scaled.mean(1) == 0.001).mean() == 0.5


def test_errors_are_those_that_are_named() -> None:
    def rewards(*errors: str) -> tuple[Any, Any]:
        keys = {"kind": "errors", "errors": list(errors), "num_models": 5}
        study = make_study(
            config(num_prompts=30, num_outputs=6, prompts_per_update=9, reward_models=keys), 2
        )
        assert_allclose(np.exp(study.log_probs).sum(1), 1)
        assert_allclose(np.exp(study.log_probs[:, MEDIOCRE]), 0.5)
        return study.truth, study.rewards

    truth, hacked = rewards("hacking")
    wrong = hacked != truth
    assert wrong.sum() > 0 and not wrong[..., :FIRST_BAD].any() and (hacked[wrong] == 1.0).all()
    truth, benign = rewards("benign")
    assert (np.sort(benign, -1) == np.sort(truth, -1)).all() and (benign != truth).any()
    truth, helped = rewards("beneficial")
    wrong = helped != truth
    assert (helped[..., BEST] == truth[:, BEST]).all() and wrong[..., MEDIOCRE].any()
    assert not wrong[..., FIRST_BAD:].any() and (helped[wrong] == -1.0).all()


def test_the_reward_that_is_trained_rises_and_the_policy_leaves_its_start() -> None:
    keys = config(num_prompts=20, num_outputs=6, prompts_per_update=20, num_updates=60)
    study = make_study(keys, 0)
    for exact in (False, True):
        told = config(**json.loads(keys.model_dump_json()) | {
            "num_samples_per_input": 0 if exact else 2
        })  # fmt: skip
        first, *_, last = train(
            told, study.log_probs, study.rewards, study.truth, seed=0, num_moments=2
        )
        assert (last.rewards > first.rewards).all() and (last.kl > 0.01).all()
        assert first.kl == pytest.approx(0) and (first.step, last.step) == (0, 60)


def test_a_run_leaves_measures_and_gains_of_each_model(workplace: Workplace) -> None:
    small = {"num_prompts": 20, "num_outputs": 5, "prompts_per_update": 10, "num_updates": 10}
    document = {"experiment": "tabular_teachers", "configurations": [{"base_config": small}]}
    plan, tables = workplace.write_plan(seeds=[4], **document), []
    for _ in range(2):
        assert workplace.run_plan(plan, "--fresh").status == 0
        tables.append(pd.read_parquet(workplace.folders()[0].table("teachers")))
    first, second = tables
    pd.testing.assert_frame_equal(first, second)
    found = first.pivot_table(index="reward", columns="measure", values="value")
    assert len(found) == 14 and found.loc["truth", "on_policy/accuracy"] == 1.0
    assert (found[["trained_gain", "kl"]].notna()).all(axis=None)
    assert found.loc["truth", "trained_gain"] == pytest.approx(found.loc["truth", "true_gain"])
    curves = pd.read_parquet(workplace.folders()[0].table("teacher_curves"))
    assert curves["step"].unique().tolist() == list(range(11))


def test_settings_that_compare_nothing_are_refused(workplace: Workplace) -> None:
    wrong = {"num_samples_per_input": 1, "prompts_per_update": 400,
             "reward_models": {"kind": "errors", "errors": ["hacking"],
                               "best_probability": [0.6, 0.3]}}  # fmt: skip
    document = {"experiment": "tabular_teachers", "configurations": [{"base_config": wrong}]}
    outcome = workplace.run_plan(workplace.write_plan(**document))
    assert outcome.status == 2
    for told in ("no baseline; give 2 or more", "there are only 'num_prompts' = 300",
                 "must be [smallest, largest]"):  # fmt: skip
        assert told in outcome.err


@pytest.mark.parametrize(
    ("reward_models", "said"),
    [
        ({"kind": "nosy"}, "'reward_models.kind' = 'nosy': unknown; did you mean 'noisy'?"),
        ({"noise": [1.0]}, "'reward_models.kind': this key is required"),
        ({"kind": "noisy", "noise": [1e300]}, "'reward_models.noise[0]' = 1e+300: must be less"),
        ({"kind": "noisy", "noise": [0.5, 0.5]}, "'reward_models.noise' = [0.5, 0.5]: names 0.5 "
         "twice; drop the repetition"),
        ({"kind": "errors", "errors": ["benign", "benign"]}, "names \"benign\" twice"),
    ],
)  # fmt: skip
def test_wrong_kinds_of_reward_models_are_named_by_their_key(
    reward_models: dict[str, Any], said: str
) -> None:
    _, problems = resolve(TabularTeachersConfig, {"reward_models": reward_models})
    (problem,) = map(str, problems)
    assert said in problem
