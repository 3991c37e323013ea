"""Means over runs with the ends of their bars and bands, on linear and on logarithmic axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ENDS = ["drawn", "low", "high"]
"""Columns of `bars`."""


def bars(values: pd.Series, *, log: bool) -> pd.DataFrame:
    """Return the drawn mean of values with equal index, and the ends of its bar.

    The ends are one standard deviation (ddof 1) to each side; NaN for one value. For a logarithmic
    axis all three are those of logarithms: the mean is the geometric one, and both ends are above
    zero and equally far from it on the axis. Values that are not above zero do not count there.
    """
    numbers = np.log(values.where(values > 0)) if log else values
    by_index = numbers.groupby(level=0)
    mean, std = by_index.mean(), by_index.std()
    found = mean.to_frame("drawn").assign(low=mean - std, high=mean + std)
    return found.apply(np.exp) if log else found
