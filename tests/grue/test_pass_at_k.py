"""pass@k against all groups of samples, and its place in the statistics of an extraction."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from grue.rl.pass_at_k import pass_at_k
from grue.rl.reward_stats import tables

NUM_SAMPLES = 6
RIGHT = np.array([[1.0] * c + [0.0] * (NUM_SAMPLES - c) for c in range(NUM_SAMPLES + 1)])
"""[7, 6] rows with 0 to 6 right samples."""


@pytest.mark.parametrize("k", range(1, NUM_SAMPLES + 1))
def test_it_is_the_share_of_groups_with_a_right_sample(k: int) -> None:
    groups = list(itertools.combinations(range(NUM_SAMPLES), k))
    expected = [np.mean([row[list(group)].any() for group in groups]) for row in RIGHT]
    np.testing.assert_allclose(pass_at_k(RIGHT, k), expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(pass_at_k(RIGHT[:, ::-1], k), pass_at_k(RIGHT, k))


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 1.0])
def test_it_is_not_biased(rate: float) -> None:
    """The exact mean over all numbers of right samples is 1 - (1 - p)^k."""
    weights = [
        math.comb(NUM_SAMPLES, c) * rate**c * (1 - rate) ** (NUM_SAMPLES - c)
        for c in range(NUM_SAMPLES + 1)
    ]
    for k in range(1, NUM_SAMPLES + 1):
        mean = np.dot(weights, pass_at_k(RIGHT, k))
        assert mean == pytest.approx(1 - (1 - rate) ** k, abs=1e-14)


def test_many_samples_do_not_overflow() -> None:
    rewards = np.zeros((1, 3000))
    rewards[0, 0] = 1
    assert pass_at_k(rewards, 1500)[0] == pytest.approx(0.5, rel=1e-12)


def test_other_rewards_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="rewards of 0 and 1 alone"):
        pass_at_k(RIGHT * 0.5, 2)
    for k in (0, NUM_SAMPLES + 1):
        with pytest.raises(ValueError, match=f"k = {k}: must be 1 to the number of samples, 6"):
            pass_at_k(RIGHT, k)


def test_extractions_have_it_of_rewards_that_are_right_or_wrong() -> None:
    rewards = {"right": RIGHT, "graded": RIGHT / 2, "all": np.ones((7, 6))}
    _, found = tables([str(i) for i in range(7)], rewards, ddof=1, zero_tol=None, low_std=0.01,
                      group_sizes=(2, 4, 8))  # fmt: skip
    of_right = found["metrics"]["right"]["pass_at_k"]
    assert of_right == {str(k): pass_at_k(RIGHT, k).mean() for k in (1, 2, 4, 6)}
    assert of_right["1"] == found["metrics"]["right"]["mean"]
    assert found["metrics"]["all"]["pass_at_k"] == {"1": 1, "2": 1, "4": 1, "6": 1}
    assert "pass_at_k" not in found["metrics"]["graded"]
