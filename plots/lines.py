"""Lines of means with bands of standard deviations, and the legend of figures with many of them."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from plots.runs import Run

BAND: Mapping[str, Any] = {"color": "gray", "alpha": 0.3, "linewidth": 8}
CROSS: Mapping[str, Any] = {"color": "gray", "marker": "+", "markersize": 13, "linestyle": "none"}
"""Entries of legends for bands, and for bars in both directions."""
_BAND: dict[str, Any] = {"alpha": 0.2, "linewidth": 0}
_COLORS = [f"C{place}" for place in range(7)]
_MARKERS = "os^DvPXp<"
DASHES = ("solid", "dashed", "dotted")
_MARKERS_OF_LINE = 8
LEAST_WIDTH = 5.5
"""Least width of a figure, in inches."""
_LABEL_WIDTH = 50
"""Number of letters in a line of the legend that fit into the narrowest figure."""


def looks() -> Iterator[dict[str, Any]]:
    """Yield colour, marker and dashes of lines; those of equal colour have another marker, too."""
    for number in itertools.count():
        row, place = divmod(number, len(_COLORS))
        yield {
            "color": _COLORS[place],
            "marker": _MARKERS[number % len(_MARKERS)],
            "linestyle": DASHES[row % len(DASHES)],
        }


def plain(name: str) -> str:
    """Return the label of a name whose dollars begin no formula, which might be a broken one."""
    return name.replace("$", r"\$")


def draw_line(
    axes: Axes, line: pd.DataFrame, x: str, look: dict[str, Any], *, place: int = 0
) -> None:
    """Draw a line with its band; if there are many points, only some have a marker.

    Args:
        axes: panel to draw in.
        line: points with their ``mean`` and ``std``.
        x: column of the horizontal axis.
        look: properties of the line.
        place: number of the line; markers of equal lines are beside each other.
    """
    every = max(1, round(len(line) / _MARKERS_OF_LINE))
    axes.plot(line[x], line["mean"], markevery=(place % every, every), **look)
    low, high = line["mean"] - line["std"], line["mean"] + line["std"]
    axes.fill_between(line[x], low, high, color=look["color"], **_BAND)


def entries(
    groups: Sequence[tuple[str, Sequence[Run]]],
    points: pd.DataFrame,
    *,
    width: float,
    spread: Mapping[str, Any] = BAND,
) -> list[list[dict[str, Any]]]:
    """Return the legend's entries by column: the lines, and their spread with numbers of runs.

    Lines say their numbers of runs where these differ. There are two columns if ``width`` inches
    hold them; a figure is at least `LEAST_WIDTH` wide.
    """
    several = points["n"].max() > 1
    sizes = {len(runs) for _, runs in groups}
    found = []
    for look, (name, runs) in zip(looks(), groups, strict=False):
        count = f" ({len(runs)} run{'' if len(runs) == 1 else 's'})" if len(sizes) > 1 else ""
        found.append({"label": plain(textwrap.fill(name + count, _LABEL_WIDTH)), **look})
    if several:
        each = f" ({sizes.pop()} runs)" if len(sizes) == 1 else ""
        found.append({"label": f"± 1 standard deviation{each}", **spread})
    of_lines = found[: len(groups)]
    letters = max(len(line) for entry in of_lines for line in entry["label"].split("\n"))
    if len(found) < 2 or 2 * (letters + 8) > 11 * max(width, LEAST_WIDTH):
        return [found]
    half = math.ceil(len(found) / 2)
    return [found[:half], found[half:]]
