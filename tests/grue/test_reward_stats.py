from __future__ import annotations

import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest

from grue.rl.reward_stats import per_input, prob_zero_std, reward_std, summary, tables, zero_std

SETTINGS = {"ddof": 1, "zero_tol": 0.0, "low_std": 0.01, "group_sizes": (2, 4)}


def normal(num_inputs: int, num_samples: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    return draw.normal(draw.normal(size=(num_inputs, 1)), 0.5, (num_inputs, num_samples))


def outcomes(pass_rate: float, num_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of passes among K samples, as rows of rewards; and their probabilities."""
    passes = range(num_samples + 1)
    rewards = [[1.0] * c + [0.0] * (num_samples - c) for c in passes]
    weights = [
        math.comb(num_samples, c) * pass_rate**c * (1 - pass_rate) ** (num_samples - c)
        for c in passes
    ]
    return np.array(rewards), np.array(weights)


def stds(rewards: np.ndarray, ddof: int) -> tuple[float, float, float]:
    found = summary(rewards, **{**SETTINGS, "ddof": ddof})
    names = ("per_input_rms", "between_inputs", "batch")
    within, between, batch = (found[f"reward_std/{name}"] for name in names)
    return within, between, batch


def test_the_total_variance_is_that_within_and_between_inputs():
    within, between, batch = stds(normal(7, 5), ddof=0)
    assert batch**2 == pytest.approx(within**2 + between**2, rel=1e-13)


def test_sums_of_squares_add_up_with_ddof_1():
    num_inputs, num_samples = 7, 5
    within, between, batch = stds(normal(num_inputs, num_samples), ddof=1)
    parts = num_inputs * (num_samples - 1) * within**2
    parts += num_samples * (num_inputs - 1) * between**2
    assert (num_inputs * num_samples - 1) * batch**2 == pytest.approx(parts, rel=1e-13)


@pytest.mark.parametrize("ddof", [0, 1])
def test_numbers_of_single_inputs(ddof):
    found = per_input(np.array([[1.0, 3.0, 1.0, 3.0], [5.0] * 4]), ddof=ddof, zero_tol=0.0)
    assert {name: values.tolist() for name, values in found.items()} == {
        "n": [4, 4],
        "mean": [2.0, 5.0],
        "std": [math.sqrt(4 / (4 - ddof)), 0.0],
        "min": [1.0, 5.0],
        "max": [3.0, 5.0],
        "num_distinct": [2, 1],
        "zero_std": [False, True],
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ten_equal_rewards_have_no_deviation_whatever_their_value(dtype):
    values = np.random.default_rng(0).random((1000, 1)).astype(dtype)
    equal = np.repeat(values, 10, axis=1)
    assert (equal.std(1) > 0).mean() > 0.1, "rounding moves the std of equal numbers"
    table, found = tables([str(i) for i in range(1000)], {"reward": equal}, **SETTINGS)
    assert table["zero_std"].all()
    assert (table["std"] == 0).all()
    assert (table["mean"] == values[:, 0]).all()
    assert found["metrics"]["reward"]["reward_std/frac_zero"] == 1.0


def test_rewards_that_rounding_sets_apart_are_equal_within_the_tolerance():
    near = np.nextafter(np.float32(0.7), np.float32(1))
    rewards = np.array([[0.7] * 9 + [near]], dtype=np.float32).astype(np.float64)
    gap = float(rewards.max() - rewards.min())
    assert not zero_std(rewards, 0.0)[0]
    assert zero_std(rewards, None)[0] and reward_std(rewards, 1)[0] == 0
    assert prob_zero_std(rewards, 4, None)[0] == pytest.approx(1.0, rel=1e-15)
    tiny = 1e-12 * (1 + 1e-5 * np.arange(10.0))[None]
    assert not zero_std(tiny, None)[0] and reward_std(tiny, 1)[0] > 0
    assert zero_std(rewards, gap)[0]
    assert per_input(rewards, ddof=1, zero_tol=gap)["num_distinct"] == [2]
    assert prob_zero_std(rewards, 4, gap)[0] == pytest.approx(1.0, rel=1e-15)
    assert prob_zero_std(rewards, 4, 0.0)[0] == math.comb(9, 4) / math.comb(10, 4)


def test_the_extrapolation_is_unbiased():
    rewards, weights = outcomes(0.3, 6)
    for size in range(2, 7):
        expected = weights @ prob_zero_std(rewards, size, 0.0)
        assert expected == pytest.approx(0.3**size + 0.7**size, rel=1e-13)


def test_the_extrapolation_of_three_values_is_unbiased_within_a_tolerance():
    values, weights = (0.0, 0.4, 1.0), (0.5, 0.3, 0.2)  # 0.4 is near 0, 1 is near none
    drawn = list(itertools.product(range(3), repeat=5))
    rewards = np.array([[values[i] for i in row] for row in drawn])
    probs = np.array([math.prod(weights[i] for i in row) for row in drawn])
    for size in (2, 3, 5):
        expected = probs @ prob_zero_std(rewards, size, 0.5)
        assert expected == pytest.approx(0.8**size + 0.2**size, rel=1e-13)


def test_the_extrapolation_counts_groups():
    rewards = np.random.default_rng(1).integers(0, 5, (20, 7)) / 4.0
    for size, tol in itertools.product((2, 3, 7), (0.0, 0.25, 0.6)):
        counted = [
            np.mean([max(group) - min(group) <= tol for group in itertools.combinations(row, size)])
            for row in rewards
        ]
        np.testing.assert_allclose(prob_zero_std(rewards, size, tol), counted, rtol=1e-13)


def test_groups_of_all_samples_are_the_zero_test_itself():
    rewards = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 2.0]])
    assert prob_zero_std(rewards, 3, 0.0).tolist() == [1.0, 0.0]


def test_a_pass_rate_of_a_tenth_looks_dead_in_small_groups():
    rewards, weights = outcomes(0.1, 20)
    percent = [round(100 * (weights @ prob_zero_std(rewards, size, 0.0))) for size in (4, 8, 16)]
    assert percent == [66, 43, 19]


def test_the_sample_std_is_biased_low_and_its_square_is_not():
    rewards, weights = outcomes(0.1, 8)
    std = reward_std(rewards, 1)
    assert weights @ std == pytest.approx(0.224, abs=5e-4)
    assert math.sqrt(weights @ std**2) == pytest.approx(0.3, rel=1e-13)


def test_rewards_constant_within_inputs_deviate_in_the_batch_alone():
    found = summary(np.repeat([[0.0], [3.0], [9.0]], 4, axis=1), **SETTINGS)
    assert found["reward_std/per_input_mean"] == found["reward_std/per_input_rms"] == 0.0
    assert found["reward_std/frac_zero"] == found["reward_std/frac_low"] == 1.0
    assert found["reward_std/batch"] > 3


def test_low_means_below_the_threshold():
    rewards = np.array([[0.0, 0.0], [0.0, 0.01], [0.0, 0.02], [0.0, 1.0]])
    found = summary(rewards, ddof=0, zero_tol=0.0, low_std=0.01, group_sizes=())
    assert (found["reward_std/frac_zero"], found["reward_std/frac_low"]) == (0.25, 0.5)


@pytest.mark.parametrize("ddof", [0, 1])
def test_one_sample_says_nothing_of_deviation(ddof):
    table, found = tables(["a", "b"], {"reward": [[1.0], [2.0]]}, **{**SETTINGS, "ddof": ddof})
    assert table["std"].isna().all()
    assert not table["zero_std"].any()
    of_metric = found["metrics"]["reward"]
    undefined = ("per_input_mean", "per_input_rms", "frac_zero", "frac_low")
    assert [of_metric[f"reward_std/{name}"] for name in undefined] == [None] * 4
    assert of_metric["reward_std/between_inputs"] == of_metric["reward_std/batch"] > 0
    assert of_metric["reward_std/frac_zero_by_group_size"] == {}


def test_one_input_has_nothing_beside_it():
    found = summary(np.array([[1.0, 3.0]]), **SETTINGS)
    assert found["reward_std/between_inputs"] is None
    assert found["reward_std/batch"] == found["reward_std/per_input_mean"] == math.sqrt(2)


def test_tables_hold_all_metrics_and_state_how_they_were_computed():
    rewards = {"first": [[0.0, 1.0, 0.0], [2.0, 2.0, 2.0]], "second": np.zeros((2, 3))}
    table, found = tables(["a", "b"], rewards, **SETTINGS)
    assert table.columns.tolist() == [
        "input_id", "metric", "n", "mean", "std", "min", "max", "num_distinct", "zero_std",
    ]  # fmt: skip
    assert table[["metric", "input_id"]].to_numpy().tolist() == [
        ["first", "a"], ["first", "b"], ["second", "a"], ["second", "b"]
    ]  # fmt: skip
    assert table["zero_std"].tolist() == [False, True, True, True]
    assert {key: found[key] for key in ("ddof", "zero_tol", "low_std")} == {
        "ddof": 1, "zero_tol": 0.0, "low_std": 0.01
    }  # fmt: skip
    first = json.loads(json.dumps(found, allow_nan=False))["metrics"]["first"]
    assert list(first) == [
        "num_inputs", "num_samples_per_input", "mean",
        "reward_std/per_input_mean", "reward_std/per_input_rms", "reward_std/between_inputs",
        "reward_std/batch", "reward_std/frac_zero", "reward_std/frac_low",
        "reward_std/frac_zero_by_group_size",
    ]  # fmt: skip
    assert (first["num_inputs"], first["num_samples_per_input"]) == (2, 3)
    assert first["reward_std/frac_zero_by_group_size"] == {"2": pytest.approx(2 / 3)}


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([[1.0, 2.0], [1.0, math.nan]], "'reward' is nan for input 1, sample 1"),
        ([[1.0, 2.0], [math.inf, -math.inf]], r"inf for input 1, sample 0 \(of 2 such\)"),
        ([1.0, 2.0], r"\(2,\) are not \[2, K\]"),
        ([[1.0, 2.0]], r"\(1, 2\) are not \[2, K\]"),
        ([[], []], r"\(2, 0\) are not \[2, K\]"),
    ],
)
def test_what_is_no_table_of_finite_numbers_is_refused(rewards, message):
    with pytest.raises(ValueError, match=message):
        tables(["a", "b"], {"reward": rewards}, **SETTINGS)


@pytest.mark.parametrize("num_samples", [4, 7, 64, 1100])
def test_a_share_of_groups_is_rounded_once(num_samples):
    rng = np.random.default_rng(0)
    rewards = np.stack([
        np.zeros(num_samples), rng.integers(0, 2, num_samples), rng.integers(0, 3, num_samples),
    ])  # fmt: skip
    for size in {2, 3, num_samples // 2, num_samples}:
        silent = [sum(math.comb(count, size) for count in Counter(row).values()) for row in rewards]
        expected = [count / math.comb(num_samples, size) for count in silent]
        assert prob_zero_std(rewards, size, 0.0).tolist() == expected
    assert expected[0] == 1
