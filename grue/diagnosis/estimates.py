"""Estimates of sampled rewards over inputs, each with its interval."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.training.shape_checks import check_axes
from grue.diagnosis.group_size import Estimate, estimated, mean_share, silent_share
from grue.rl.pass_at_k import is_right_or_wrong, pass_at_k
from grue.rl.reward_stats import reward_std

Floats = NDArray[np.float64]


class Variances(NamedTuple):
    """Parts of the variance of a new reward of a new input, which add up to it."""

    within: float
    """Mean over inputs of the variance of an input's rewards, without bias."""
    between: float
    """Variance over inputs of the mean reward, without bias; it may be negative."""


def variances(means: Floats, input_variances: Floats, num_samples: int) -> Variances:
    """Return the variance within and between inputs (one-way analysis of variance).

    The variance of N sample means has a K-th of the variance within in it, which is taken off.

    Args:
        means: [N] mean reward of each input's K samples.
        input_variances: [N] their variances, divided by K - 1.
        num_samples: K.
    """
    within = float(input_variances.mean())
    return Variances(within, float(means.var(ddof=1)) - within / num_samples)


def estimates(rewards: Floats, zero_tol: float | None, *, seed: int) -> dict[str, Estimate]:
    """Return the estimates by name, with intervals over inputs.

    ``reward`` is the mean; ``variance_within`` and ``variance_between`` are `variances`;
    ``std_mean`` and ``std_rms`` the mean and the root mean square of the inputs' stds, of which
    the first is biased low; ``silent/<G>`` the share of silent groups of each size up to K; and
    ``pass/<k>`` pass@k of rewards that are 0 or 1, for k = 1, 2, 4 and so on.

    Args:
        rewards: [N, K], with two or more of each.
        zero_tol: see `grue.rl.reward_stats.zero_std`.
        seed: seed of the intervals.
    """
    check_axes("rewards", rewards, "NK")
    num_samples = rewards.shape[1]
    std = reward_std(rewards, ddof=1)
    means = rewards.mean(1)
    found = {
        name: estimated(values, lambda drawn: float(drawn.mean()), seed=seed)
        for name, values in {"reward": means, "std_mean": std}.items()
    }
    if is_right_or_wrong(rewards):
        powers = (2**power for power in range(num_samples.bit_length()))
        shares = {"reward": means} | {f"pass/{k}": pass_at_k(rewards, k) for k in powers}
        found |= {name: mean_share(share, seed=seed) for name, share in shares.items()}
    found |= {
        f"silent/{size}": silent_share(rewards, size, zero_tol, seed=seed)
        for size in range(2, num_samples + 1)
    }
    squares = np.square(std)
    found["std_rms"] = estimated(squares, lambda drawn: float(np.sqrt(drawn.mean())), seed=seed)
    moments = np.stack([means, squares], axis=1)

    def part(name: str, drawn: Floats) -> float:
        return float(getattr(variances(drawn[:, 0], drawn[:, 1], num_samples), name))

    for name in Variances._fields:
        statistic = functools.partial(part, name)
        found[f"variance_{name}"] = estimated(moments, statistic, seed=seed)
    return found
