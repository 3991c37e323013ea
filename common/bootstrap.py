"""Percentile bootstrap: intervals of a statistic by data drawn again (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
"""Probability with which an interval covers the estimated number."""
RESAMPLES = 1000


def bootstrap(
    values: Floats, statistic: Callable[[Floats], Any], *, seed: int
) -> tuple[Floats, Floats]:
    """Return the ends of the interval of a statistic, or of each of several.

    Args:
        values: [N, ...] numbers of N cases, which are drawn with replacement.
        statistic: function of such an array; it returns a number, or an array of them.
        seed: seed of the draws.
    """
    rng = np.random.default_rng(seed)
    return percentiles([
        statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(RESAMPLES)
    ])  # fmt: skip


def percentiles(draws: Sequence[Any] | Floats) -> tuple[Floats, Floats]:
    """Return the ends of the interval that leaves out equal shares of the draws on both sides."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return low, high
