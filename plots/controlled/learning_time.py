"""Time until a linear model has learned an input, against the reward std at its start."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.errors import Problem
from common.run.folder import RunFolder, read_json
from plots.methods import in_order, method
from plots.needs import planned
from plots.needs.wanted import Wanted
from plots.options import FigureOptions
from plots.runs import load_runs
from plots.variants import Variant, variants

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

NUMBERS = ["time", "closed_form_time", "steps_times_lr"]
LOGARITHMIC = "supervised"
"""Method whose time is proportional to log(1 / epsilon), not to a power of 1 / epsilon."""
_STEPS: dict[str, Any] = {
    "marker": "o", "markersize": 9, "markerfacecolor": "none", "linestyle": "none",
}  # fmt: skip


def read_times(folder: RunFolder) -> pd.DataFrame | None:
    """Return the result of a run of the experiment linear_theory as one row.

    None for other runs.
    """
    import pandas as pd

    try:
        values = (read_json(folder.summary) or {}).get("last", {})
        row = {name: values[name] for name in NUMBERS}
    except (OSError, ValueError, AttributeError) as error:
        logger.warning("%s: left out, cannot be read: %s", folder.summary, error)
        return None
    except KeyError:
        return None
    return pd.DataFrame([row], dtype=float)


WANTED = Wanted(
    read_times,
    "times of the experiment 'linear_theory' (closed_form_time in summary.json)",
    'fix: draw this figure from a plan with "experiment": "linear_theory"',
    planned.of_experiment("linear_theory"),
)


class Options(FigureOptions):
    """Options of the figure of learning times."""

    example: ClassVar[str] = "--fit_below 0.01"
    wanted = WANTED

    fit_below: float = 0.1
    """Largest epsilon of the runs in the fits of slopes: both laws hold for small epsilon."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a bound that no epsilon can be below."""
        if self.fit_below <= 0:
            yield Problem("must be greater than 0", "fit_below", self.fit_below)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one row per variant: all methods on logarithmic axes, and SFT on a linear time axis.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: there are no times, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    rows = variants(load_runs(runs, WANTED, options.only), aside=frozenset({"epsilon"}))
    table = points(rows, options.fit_below)
    with canvas.styled():
        titles = [variant.title for variant in rows]
        figure, grid = canvas.panels(titles, 2, (3.6, 3.1))
        figure.suptitle("linear model, one input: time until it is learned")
        for title, (both, alone) in zip(titles, grid, strict=True):
            of_row = table[table["variant"] == title]
            _panel(both, of_row)
            both.set(yscale="log", title="all methods", ylabel="time (steps × step size)")
            _panel(alone, of_row[of_row["method"] == LOGARITHMIC])
            alone.set_title(f"{method(LOGARITHMIC).label} alone, time not logarithmic")
        for axes in itertools.chain(*grid):
            axes.set_xscale("log")
        for axes in grid[-1]:
            axes.set_xlabel(r"1 / $\epsilon$,  $\epsilon$ = reward std at the start")
        canvas.legend(figure, _legend(table))
        return canvas.save(figure, table, stem)


def points(rows: Sequence[Variant], fit_below: float) -> pd.DataFrame:
    """Return the plotted numbers, one row per run, with the fitted slope of its line.

    The slope of `LOGARITHMIC` is that of its time over log(1 / epsilon); of other methods, that of
    the time's logarithm. It is NaN if fewer than two runs have an epsilon of at most ``fit_below``.
    """
    import pandas as pd

    lines = {}
    for variant in rows:
        for name, runs in variant.methods.items():
            line = pd.concat([run.table for run in runs])
            line.insert(0, "epsilon", [float(run.config["epsilon"]) for run in runs])
            line = line.sort_values("epsilon", ascending=False)
            lines[variant.title, name] = line.assign(fitted_slope=_slope(line, name, fit_below))
    table: pd.DataFrame = pd.concat(lines, names=["variant", "method"])
    return table.droplevel(-1).reset_index()


def _slope(line: pd.DataFrame, name: str, fit_below: float) -> float:
    small = line[line["epsilon"] <= fit_below]
    if small["epsilon"].nunique() < 2:
        return math.nan
    time = small["time"] if name == LOGARITHMIC else np.log(small["time"])
    return float(np.polyfit(-np.log(small["epsilon"]), time, 1)[0])


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    """Draw each method's times, by closed form and by gradient steps, and write its law."""
    for place, name in enumerate(in_order(table["method"].tolist())):
        line, look = table[table["method"] == name], method(name)
        x = 1 / line["epsilon"]
        axes.plot(x, line["closed_form_time"], color=look.color, linewidth=1.2)
        axes.plot(x, line["time"], color=look.color, marker=look.marker, linestyle="none")
        axes.plot(x, line["steps_times_lr"], color=look.color, **_STEPS)
        law = _law(name, line["fitted_slope"].iloc[0])
        height = 0.97 - 0.09 * place
        axes.text(
            0.04, height, law, color=look.color, transform=axes.transAxes, va="top", size="small"
        )


def _law(name: str, slope: float) -> str:
    """Return the growth of a method's time, as one formula."""
    label = method(name).label
    if math.isnan(slope):
        return f"{label}: too few runs for a slope"
    if name == LOGARITHMIC:
        return rf"{label}: time $\approx$ {slope:.2f} ln(1/$\epsilon$) + const"
    return rf"{label}: time $\propto$ (1/$\epsilon$)$^{{{slope:.2f}}}$"


def _legend(table: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Return the legend's entries by column: methods; the closed form and the counted steps."""
    looks = [method(name) for name in in_order(table["method"].tolist())]
    methods = [
        {"label": f"{look.label}, flow integrated", "color": look.color, "marker": look.marker}
        | {"linestyle": "none"}
        for look in looks
    ]
    others = [{"label": "closed form", "color": "dimgray", "linewidth": 1.2}]
    if table["steps_times_lr"].notna().any():
        others.append({"label": "gradient steps × step size", "color": "dimgray", **_STEPS})
    return [methods, others]
