"""Estimate of pass@k: the probability that one of k samples of an input is right."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from common.training.shape_checks import check_axes


def is_right_or_wrong(rewards: NDArray[np.float64]) -> bool:
    """Return whether all rewards are 1 (right) or 0 (wrong), for which pass@k is defined."""
    return bool(np.isin(rewards, (0.0, 1.0)).all())


def pass_at_k(rewards: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return [N] the unbiased estimates of P(at least one of k new samples is right).

    With c of the n samples right it is 1 - comb(n - c, k) / comb(n, k), the share of the groups of
    k among them that have a right one (Chen et al. 2021, arXiv 2107.03374, equation 1).

    Args:
        rewards: [N, n] rewards, each 0 or 1.
        k: size of a group, from 1 to n.

    Raises:
        ValueError: another reward, or no such group.
    """
    check_axes("rewards", rewards, "NK")
    num_samples = rewards.shape[1]
    if not 1 <= k <= num_samples:
        raise ValueError(f"k = {k}: must be 1 to the number of samples, {num_samples}")
    if not is_right_or_wrong(rewards):
        raise ValueError("pass@k is defined for rewards of 0 and 1 alone")
    groups = math.comb(num_samples, k)
    with_right = [groups - math.comb(num_samples - c, k) for c in range(num_samples + 1)]
    by_count = np.array([count / groups for count in with_right])
    found: NDArray[np.float64] = by_count[rewards.sum(1).astype(np.int64)]
    return found


def mean_pass_at_k(
    rewards: NDArray[np.float64] | NDArray[np.bool_], sizes: Iterable[int] | None = None
) -> dict[int, float]:
    """Return the means over inputs of `pass_at_k`, by k.

    Args:
        rewards: [N, n] rewards, each 0 or 1, or whether a sample is right.
        sizes: values of k, of which those up to n are taken; None for 1, 2, 4 and so on.
    """
    of, most = rewards.astype(np.float64), rewards.shape[1]
    wanted = (2**power for power in range(most.bit_length())) if sizes is None else sizes
    return {k: float(pass_at_k(of, k).mean()) for k in sorted(wanted) if k <= most}
