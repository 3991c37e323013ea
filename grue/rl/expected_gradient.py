"""Squared norm of an input's expected policy gradient, without bias, from a few sampled outputs.

The expected gradient is g = E[r(y) s(y)], with the score s(y) = grad log pi(y | x) of an output. A
norm of a mean over K outputs is too large: its square is |g|^2 plus a K-th of the variance. The
product of estimates of two halves of the outputs, which are independent, is right on average. Its
mean over all ways to halve them is the mean over all pairs of different outputs of their product.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.training.shape_checks import check_shape

Floats = NDArray[np.float64]

FEWEST_OUTPUTS = 4
"""Outputs that an estimate with a standard error needs."""


class SquaredNorm(NamedTuple):
    """Estimate of |g|^2, in squared units of the reward."""

    value: float
    """Unbiased estimate, which may be negative."""
    standard_error: float
    """Its standard error by the jackknife, on average not too small (Efron and Stein 1981)."""


def squared_norm(rewards: Floats, products: Floats) -> SquaredNorm:
    """Return the estimate of the squared norm of an input's expected gradient.

    Equal rewards give exactly 0, with no error.

    Args:
        rewards: [K] rewards of the outputs.
        products: [K, K] inner products of their scores.

    Raises:
        ValueError: there are fewer than `FEWEST_OUTPUTS`, or other products than rewards.
    """
    num_samples = len(rewards)
    check_shape("products", products, (num_samples, num_samples))
    if num_samples < FEWEST_OUTPUTS:
        raise ValueError(f"{num_samples} outputs: at least {FEWEST_OUTPUTS} are needed")
    above = rewards - rewards.min()  # no rounding where rewards are equal
    without = [np.delete(np.arange(num_samples), place) for place in range(num_samples)]
    parts = np.array([_mean_product(above[rows], products[np.ix_(rows, rows)]) for rows in without])
    spread = (num_samples - 1) * np.square(parts - parts.mean()).mean()
    return SquaredNorm(_mean_product(above, products), float(np.sqrt(spread)))


def _mean_product(rewards: Floats, products: Floats) -> float:
    """Return the mean over pairs i != j of (r_i - b_ij) (r_j - b_ij) <s_i, s_j>.

    The baseline b_ij is the mean of the other rewards, which does not depend on the pair.
    """
    num_samples = len(rewards)
    pairs = rewards[:, None] + rewards[None]
    baselines = (rewards.sum() - pairs) / (num_samples - 2)
    terms = (rewards[:, None] - baselines) * (rewards[None] - baselines) * products
    total = terms.sum() - np.trace(terms)
    return float(total / (num_samples * (num_samples - 1)))
