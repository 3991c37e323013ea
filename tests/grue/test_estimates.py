"""Estimates of rewards over inputs, against exact sums and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from common.bootstrap import tail_of_cases
from grue.diagnosis.estimates import estimates, variances
from grue.diagnosis.group_size import silent_share
from grue.rl.reward_stats import reward_std

CHANCES, SHARES = np.array([0.1, 0.7]), np.array([0.6, 0.4])
"""Chances of a right output of two kinds of inputs, and shares of these kinds."""


def parts_of(rewards):
    return variances(rewards.mean(1), np.square(reward_std(rewards, 1)), rewards.shape[1])


def test_variances_within_and_between_are_unbiased():
    """The sum over all kinds and rewards of three inputs with two samples each."""
    num_inputs, num_samples = 3, 2
    found = np.zeros(2)
    for kinds in itertools.product(range(2), repeat=num_inputs):
        chances = CHANCES[list(kinds)][:, None]
        for outcome in itertools.product([0.0, 1.0], repeat=num_inputs * num_samples):
            rewards = np.array(outcome).reshape(num_inputs, num_samples)
            weight = SHARES[list(kinds)].prod() * np.where(rewards, chances, 1 - chances).prod()
            found += weight * np.array(parts_of(rewards))
    within = SHARES @ (CHANCES * (1 - CHANCES))
    mean = SHARES @ CHANCES
    between = SHARES @ (CHANCES - mean) ** 2
    np.testing.assert_allclose(found, [within, between], rtol=1e-12)
    assert found.sum() == pytest.approx(mean * (1 - mean))  # they add up to that of one reward


def drawn(num_inputs, num_samples, seed):
    rng = np.random.default_rng(seed)
    chances = rng.choice(CHANCES, num_inputs, p=SHARES)[:, None]
    return (rng.random((num_inputs, num_samples)) < chances).astype(float)


def test_all_estimates_meet_their_expectations():
    found = estimates(drawn(6000, 6, 0), None, seed=0)
    for size in range(2, 7):
        silent = SHARES @ (CHANCES**size + (1 - CHANCES) ** size)
        assert found[f"silent/{size}"].value == pytest.approx(silent, abs=0.02)
    for k in (1, 2, 4):
        right = SHARES @ (1 - (1 - CHANCES) ** k)
        assert found[f"pass/{k}"].value == pytest.approx(right, abs=0.02)
    within = SHARES @ (CHANCES * (1 - CHANCES))
    assert found["std_rms"].value ** 2 == pytest.approx(within, abs=0.005)
    assert found["std_mean"].value < found["std_rms"].value - 0.02
    assert found["reward"].value == pytest.approx(SHARES @ CHANCES, abs=0.02)
    assert all(one.low < one.value < one.high for one in found.values())


def test_intervals_are_those_of_scipy_over_inputs():
    """Their ends are within a third of a standard error; those of 85 % would be half of one off.

    By 1,000 resamples an end is off by a twelfth of one.
    """
    rewards = drawn(80, 3, 0)

    def of(rows, axis):
        chosen = rewards[rows]  # [..., 80, 3]
        means, squares = chosen.mean(-1), chosen.var(-1, ddof=1)
        between = means.var(axis, ddof=1) - squares.mean(axis) / 3
        silent = (np.ptp(chosen, -1) == 0).mean(axis)
        return np.array([means.mean(axis), silent, between])

    known = stats.bootstrap(
        (np.arange(80),), of, n_resamples=4000, method="percentile", rng=1,
        confidence_level=1 - 2 * tail_of_cases(80),
    )  # fmt: skip
    found = estimates(rewards, None, seed=0)
    ends = np.array([(found[name].low, found[name].high)
                     for name in ("reward", "silent/3", "variance_between")])  # fmt: skip
    off = (ends - np.array(known.confidence_interval).T) / known.standard_error[:, None]
    assert np.abs(off).max() < 0.33, off


def test_other_rewards_have_no_pass_at_k():
    rewards = np.random.default_rng(0).normal(size=(5, 3))
    found = estimates(rewards, None, seed=0)
    assert not any(name.startswith("pass/") for name in found)
    assert found["silent/2"].value == found["silent/2"].low == 0


def test_shares_of_silent_groups_are_those_of_the_sentences_also_where_all_inputs_are_alike():
    for rewards in (np.zeros((20, 4)), np.tile([0.0, 1.0, 2.0, 3.0], (20, 1))):
        found = estimates(rewards, None, seed=0)
        for size in (2, 3, 4):
            assert found[f"silent/{size}"] == silent_share(rewards, size, None, seed=0)
        assert found["silent/4"].high - found["silent/4"].low > 0.1


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_where_every_output_is_right_or_none_the_intervals_are_no_points(reward):
    found = estimates(np.full((20, 4), reward), None, seed=0)
    least = 0.025 ** (1 / 20)  # exact binomial, of 20 equal inputs
    for name in ("reward", "pass/1", "pass/4"):
        low, high = (0, 1 - least) if reward == 0 else (least, 1)
        assert found[name].value == reward
        assert (found[name].low, found[name].high) == pytest.approx((low, high))
