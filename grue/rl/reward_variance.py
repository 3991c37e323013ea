"""Variance of a reward under a policy, after rewards of different units are brought to one scale.

Rewards are [N, K], of K outputs for each of N prompts that are sampled from the initial policy. The
variance within prompts decides how fast policy gradient learns (arXiv 2503.15477). After the
normalisation it is the share of the whole variance that is within prompts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from common.training.shape_checks import check_axes
from grue.rl.tolerance import TOLERANCE

Floats = NDArray[np.float64]

_EPSILON = 1e-8
"""Number that the published program adds to the variance, in squared units of the reward."""


@dataclass(frozen=True)
class Normalization:
    """Constants that give a policy's rewards mean 0 and standard deviation 1."""

    mean: float
    std: float
    """Standard deviation over all prompts and outputs, ddof 1."""

    @classmethod
    def of(cls, rewards: Floats) -> Normalization:
        """Return the constants of rewards [N, K], all N K of them together.

        Raises:
            UserError: all rewards are equal up to rounding, or one is not finite.
        """
        check_axes("rewards", rewards, "NK")
        std = float(rewards.std(ddof=1)) if rewards.size > 1 else 0.0
        if not np.isfinite(rewards).all() or std <= TOLERANCE * np.abs(rewards).max(initial=0):
            raise UserError("rewards do not deviate, or are not finite; no scale gives them a "
                            "standard deviation of 1")  # fmt: skip
        return cls(float(rewards.mean()), std)

    @property
    def shift(self) -> float:
        """Number that is added to a reward first."""
        return -self.mean

    @property
    def scale(self) -> float:
        """Factor of the sum: 1 / sqrt(variance + 1e-8)."""
        return 1 / math.sqrt(self.std**2 + _EPSILON)

    def applied(self, rewards: Floats) -> Floats:
        """Return (r - mean) / std of rewards of any shape."""
        return (rewards - self.mean) / self.std

    def as_json(self) -> dict[str, float]:
        """Return the constants by name."""
        return {"mean": self.mean, "std": self.std, "shift": self.shift, "scale": self.scale}


def variance_within_prompts(rewards: Floats) -> Floats:
    """Return [N] the variance (ddof 1) of each prompt's rewards [N, K], K of 2 or more."""
    check_axes("rewards", rewards, "NK")
    found: Floats = (rewards - rewards.min(1, keepdims=True)).var(1, ddof=1)
    return found


def normalized_variance(rewards: Floats) -> float:
    """Return the mean over prompts of the variance of normalised rewards [N, K]; about 1 at most.

    NaN where rewards do not deviate.
    """
    total = rewards.var(ddof=1)
    return float(variance_within_prompts(rewards).mean() / total) if total > 0 else math.nan


def quantiles(values: Floats) -> dict[str, Any]:
    """Return mean, smallest, quartiles and largest of [N] values; the median is the lower middle.

    These are the statistics of the published evaluation, whose quartiles are interpolated.
    """
    ordered = np.sort(values)
    low, high = np.quantile(ordered, [0.25, 0.75])
    found = [ordered.mean(), ordered[0], low, ordered[(len(ordered) - 1) // 2], high, ordered[-1]]
    return dict(zip(("mean", "min", "p25", "median", "p75", "max"), map(float, found), strict=True))
