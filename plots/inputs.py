"""Drawing of single inputs as dots; the smallest ones are at the end of a logarithmic axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from plots.runs import CHANGED, OTHERS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LOWEST = 1e-12
"""Smallest lower end of a logarithmic axis: float32 rewards near 1 resolve no less."""
LOOKS: dict[str, dict[str, Any]] = {
    OTHERS: {"label": "other inputs", "color": "#56B4E9", "marker": "o", "linestyle": "none"},
    CHANGED: {"label": "changed inputs", "color": "#000000", "marker": "^", "linestyle": "none"},
}


def floor_of(numbers: pd.Series) -> float:
    """Return the lower end of a logarithmic axis: the decade below the smallest number.

    Numbers below `LOWEST` do not count.
    """
    smallest = numbers[numbers >= LOWEST].min()
    return float(10.0 ** math.floor(math.log10(smallest if smallest > 0 else 1.0)))


def scatter(axes: Axes, table: pd.DataFrame, x: str, y: str, floors: tuple[float, float]) -> int:
    """Draw one dot per row.

    Dots below the ``floors`` are drawn at them, and their number is returned.
    """
    size, alpha = dot(len(table))
    below = (table[x] < floors[0]) | (table[y] < floors[1])
    for part, look in LOOKS.items():
        for dots, area, opacity in ((~below, size, alpha), (below, 16.0, 1.0)):
            numbers = table[(table["part"] == part) & dots]
            axes.scatter(
                numbers[x].clip(lower=floors[0]),
                numbers[y].clip(lower=floors[1]),
                s=area,
                alpha=opacity,
                color=look["color"],
                marker=look["marker"],
                linewidths=0,
                rasterized=True,
            )
    return int(below.sum())


def dot(count: int) -> tuple[float, float]:
    """Return area (points squared) and opacity of one of ``count`` dots, smaller for more dots."""
    return min(30.0, max(3.0, 30 * math.sqrt(100 / count))), min(0.9, max(0.2, 4 * count**-0.3))
