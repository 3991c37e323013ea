"""Updates until log-linear runs reach their target, against the best output's start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plots.log_linear import curves, panels
from plots.options import FigureOptions

if TYPE_CHECKING:
    import pandas as pd


class Options(FigureOptions):
    """Options of the figure of updates."""

    example: ClassVar[str] = "--only ^start"
    wanted = curves.EXACT


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one line per reward that is trained on, on logarithmic axes.

    Runs that never reach the target are hollow triangles at the number of their updates.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: there are no exact log-linear runs, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = curves.load(runs, options.only, sampled=False)
    table = points(loaded)
    starts = table["start"].unique()
    with canvas.styled():
        figure, (axes,) = canvas.wrapped(1, 1, (5.0, 3.6))
        for name, line in table.groupby("trained_on"):
            look = curves.LOOKS[str(name)]
            reached = line[line["reached"]]
            axes.plot(reached["start"], reached["updates"], marker="o", **look)
            never = line[~line["reached"]]
            axes.plot(never["start"], never["updates"], "^", color=look["color"], fillstyle="none")
        axes.set(xscale="log", yscale="log")
        axes.minorticks_off()
        axes.set_xticks(starts, [f"{start:g}" for start in starts])
        axes.set(xlabel=r"$\pi(y^*)$ at the start",
                 ylabel=f"updates to a ground truth reward of {loaded[0].target:g}")  # fmt: skip
        columns = [panels.legend(loaded)]
        if not table["reached"].all():
            never_look = {"marker": "^", "linestyle": "none", "fillstyle": "none"}
            columns.append([{"label": "not reached by the end", "color": "gray", **never_look}])
        canvas.legend(figure, columns)
        return canvas.save(figure, table, stem)


def points(loaded: Sequence[curves.Curve]) -> pd.DataFrame:
    """Return one row per run: its start, and its updates to the target, or of the whole run."""
    import pandas as pd

    rows = [
        {
            "start": start,
            "trained_on": trained_on,
            "target": curve.target,
            "reached": curve.updates_to_target >= 0,
            "updates": curve.updates_to_target if curve.updates_to_target >= 0 else curve.updates,
        }
        for (start, trained_on), group in curves.groups(loaded).items()
        for curve in group
    ]
    return pd.DataFrame(rows)
