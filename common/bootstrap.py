"""Percentile bootstrap: intervals of a statistic by data drawn again (Efron 1979).

Of n cases drawn again the variance is (n - 1) / n of the data's, and their percentiles are those of
a normal distribution where Student's t would be right: of five cases intervals of 95 % would cover
a mean in 84 % of all studies. So the percentiles are further outside, by as much as t is (the
expanded percentile interval of Hesterberg 2015, arXiv 1411.5279).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

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
    draws = [
        statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(RESAMPLES)
    ]
    return percentiles(draws, tail=tail_of_cases(len(values)))


def percentiles(
    draws: Sequence[Any] | Floats,
    *,
    tail: float = (1 - CONFIDENCE) / 2,
    method: Literal["linear", "nearest"] = "linear",
) -> tuple[Floats, Floats]:
    """Return the ends of the interval that leaves out equal shares of the draws on both sides.

    Args:
        draws: [draws, ...] the statistic of cases drawn again.
        tail: share of draws that is left out on either side; if it is NaN, so are both ends.
        method: how ends between two draws are found; "nearest" for draws that may be infinite.
    """
    if math.isnan(tail):
        nothing = np.full(np.shape(draws)[1:], np.nan)
        return nothing, nothing
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0, method=method)
    return low, high


def tail_of_cases(num_cases: int) -> float:
    """Return the expanded share of draws outside either end; NaN for one case, which tells nothing.

    Args:
        num_cases: number of cases that a mean or a similar statistic is of.
    """
    from scipy import stats

    if num_cases < 2:
        return math.nan
    ends = stats.t.ppf((1 - CONFIDENCE) / 2, num_cases - 1)
    return float(stats.norm.cdf(math.sqrt(num_cases / (num_cases - 1)) * ends))
