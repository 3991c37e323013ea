"""Panels of log-linear runs by the probability of the best output at the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plots.log_linear.curves import LOOKS, Curve, bands, groups

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PANEL = (3.4, 2.9)
"""Width and height of a panel, in inches."""
STALL: dict[str, Any] = {"color": "gray", "linewidth": 0.8, "linestyle": "dotted"}
"""Look of the line at the mediocre output's reward, where training may stall."""


def points(curves: Sequence[Curve], quantities: Sequence[str]) -> pd.DataFrame:
    """Return the plotted numbers: bands by start, trained reward, quantity and update."""
    import pandas as pd

    found = [
        bands(group, quantity).assign(start=start, trained_on=trained_on, quantity=quantity)
        for (start, trained_on), group in groups(curves).items()
        for quantity in quantities
    ]
    table: pd.DataFrame = pd.concat(found, ignore_index=True)
    keys = ["start", "trained_on", "quantity", "update"]
    return table[[*keys, *(name for name in table if name not in keys)]]


def title(start: float) -> str:
    """Return the title of a panel."""
    return rf"$\pi(y^*)$ = {start:g} at the start"


def draw_band(axes: Axes, line: pd.DataFrame, look: Mapping[str, Any]) -> None:
    """Draw a median with its band over updates, on a logarithmic axis from 1."""
    line = line[line["update"] > 0]
    axes.plot(line["update"], line["median"], **look)
    if line["n"].max() > 1:
        axes.fill_between(
            line["update"], line["low"], line["high"], color=look["color"], alpha=0.2, linewidth=0
        )
    axes.set_xscale("log")


def legend(curves: Sequence[Curve], *, several: str = "") -> list[dict[str, Any]]:
    """Return the legend's entries: the rewards that are trained on; ``several`` names bands."""
    used = {curve.trained_on for curve in curves}
    entries = [{"label": f"trained on {name}", **look} for name, look in LOOKS.items()
               if name in used]  # fmt: skip
    most = max(len(group) for group in groups(curves).values())
    if several and most > 1:
        entries.append(
            {"label": f"{several} of {most} runs", "color": "gray", "alpha": 0.3, "linewidth": 8}
        )
    return entries
