"""Correlations of two measurements of inputs with confidence intervals, and means by bins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.bootstrap import CONFIDENCE, RESAMPLES, Floats, percentiles

if TYPE_CHECKING:
    import pandas as pd

LEAST = 3
"""Number of points from which on a correlation is defined: any two lie on a line."""
_LEAST_FOR_FISHER = 4
"""Number of inputs from which on Fisher's interval, of width 1 / sqrt(n - 3), is defined."""
_LEAST_FOR_BOOTSTRAP = 10
"""Number of inputs from which on a bootstrap interval is drawn: few have too few resamples."""


@dataclass(frozen=True)
class Correlation:
    """Coefficient with the ends of its interval; NaN where it is undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        """Return it as in figures: ``0.81 [0.75, 0.86]``."""
        if math.isnan(self.value):
            return "undefined"
        ends = "" if math.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{ends}".replace("-", "\u2212")


def pearson(x: Floats, y: Floats) -> Correlation:
    """Return Pearson's correlation of [n] and [n], with the interval of Fisher's z.

    It is undefined for fewer than three points, and if one side is constant. It has no interval for
    fewer than four.
    """
    from scipy import stats

    if _is_undefined(x, y):
        return Correlation(math.nan)
    found = stats.pearsonr(x, y)
    if len(x) < _LEAST_FOR_FISHER:
        return Correlation(float(found.statistic))
    ends = found.confidence_interval(CONFIDENCE)
    return Correlation(float(found.statistic), float(ends.low), float(ends.high))


def spearman(x: Floats, y: Floats) -> Correlation:
    """Return Spearman's rank correlation of [n] and [n], with a percentile bootstrap interval.

    Inputs are drawn with replacement; draws that are constant on one side do not count. It is
    undefined for fewer than three points, and if one side is constant. It has no interval for fewer
    than ten. Plain percentiles cover a rank correlation of ten inputs often enough.
    """
    from scipy import stats

    if _is_undefined(x, y):
        return Correlation(math.nan)
    value = float(stats.spearmanr(x, y).statistic)
    if len(x) < _LEAST_FOR_BOOTSTRAP:
        return Correlation(value)
    drawn = np.random.default_rng(0).integers(len(x), size=(RESAMPLES, len(x)))
    resampled = _row_correlations(
        stats.rankdata(x[drawn], axis=1), stats.rankdata(y[drawn], axis=1)
    )
    low, high = percentiles(resampled[~np.isnan(resampled)])
    return Correlation(value, float(low), float(high))


def binned_means(x: Floats, y: Floats, num_bins: int) -> pd.DataFrame:
    """Return the means of ``y`` in bins of equal width in ``x``, with intervals of Student's t.

    One row per bin with an input; columns x (mean), y (mean), low and high (NaN for one input), and
    n.
    """
    import pandas as pd
    from scipy import stats

    edges = np.linspace(x.min(), x.max(), num_bins + 1)
    numbers = np.clip(np.digitize(x, edges) - 1, 0, num_bins - 1)
    by_bin = pd.DataFrame({"x": x, "y": y}).groupby(numbers)
    bins = by_bin.mean().assign(n=by_bin.size())
    half = stats.t.ppf((1 + CONFIDENCE) / 2, bins["n"] - 1) * by_bin["y"].sem()
    return bins.assign(low=bins["y"] - half, high=bins["y"] + half).reset_index(drop=True)


def _is_undefined(x: Floats, y: Floats) -> bool:
    return len(x) < LEAST or bool(np.ptp(x) == 0 or np.ptp(y) == 0)


def _row_correlations(x: Floats, y: Floats) -> Floats:
    """Return [m] the correlations of the rows of [m, n] and [m, n]; NaN for constant rows."""
    x = x - x.mean(axis=1, keepdims=True)
    y = y - y.mean(axis=1, keepdims=True)
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        result: Floats = (x * y).sum(axis=1) / scale
    return result
