"""Each input's reward std against the norm of its expected gradient, under language models."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.run.folder import RunFolder
from plots import inputs
from plots.needs import planned
from plots.needs.wanted import Wanted
from plots.options import FigureOptions
from plots.runs import Run, load_runs
from plots.sampled.stats import metric_of
from plots.variants import names, subject

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

COLUMNS = ["input_id", "metric", "n", "mean", "std", "zero_std", "grad_squared_norm",
           "grad_squared_norm_se"]  # fmt: skip
ERRORS = 2.0
"""Standard errors above zero from which a squared norm counts as measured."""
SLOPE = 2 / 3
"""Exponent of the reward std in the bound of theorem 1."""
_MEASURED: dict[str, Any] = {
    "label": "input, with one standard error",
    "color": "#0072B2",
    "marker": "o",
    "linestyle": "none",
}
_UPPER: dict[str, Any] = {
    "label": "not told from 0: upper end, two standard errors",
    "color": "dimgray",
    "marker": "v",
    "linestyle": "none",
}
_BOUND: dict[str, Any] = {
    "label": r"slope of the bound, std$^{2/3}$, through the largest ratio",
    "color": "#D55E00",
    "linestyle": (0, (4, 2)),
    "linewidth": 1.2,
}


def read_gradients(folder: RunFolder) -> pd.DataFrame | None:
    """Return the statistics per input of a run that has estimated gradients; None for others."""
    import pandas as pd

    path = folder.table("reward_stats")
    try:
        return pd.read_parquet(path, columns=COLUMNS)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.info("%s: left out: %s", path, str(error).partition("\n")[0])
        return None


WANTED = Wanted(
    read_gradients,
    "estimates of expected gradients (grad_squared_norm in reward_stats.parquet)",
    "fix: set 'evaluation.gradients' of runs of the experiment \"grue_extract\"",
    lambda run: planned.samples(run) and run.key("evaluation.gradients"),
)


class Options(FigureOptions):
    """Options of the figure of expected gradients."""

    example: ClassVar[str] = "--metric reward"
    wanted = WANTED
    metric_keys = ("metric",)

    metric: str | None = None
    """Reward to draw; None for the first metric of the runs."""


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one panel per run, all with the same axes, and return the written paths.

    Norms are roots of the unbiased squared norms. Inputs whose rewards do not deviate have neither
    and are counted in the panel.

    Args:
        runs: plan folders and run folders; of a plan, the runs that have estimated gradients.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run has estimated gradients, the runs have different metrics, or the files
            cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, WANTED, options.only)
    metric = metric_of(loaded, options.metric)
    table = points(loaded, metric)
    with canvas.styled():
        figure, grid = canvas.wrapped(len(loaded), 3, (3.6, 3.4), lines=4, sharex=True, sharey=True)
        figure.suptitle(", ".join(filter(None, [subject(loaded), metric])), parse_math=False)
        for axes, title in zip(grid, names(loaded), strict=True):
            _panel(axes, table[table["panel"] == title], title)
            axes.set(xlabel="reward std", ylabel="norm of expected gradient")
            axes.label_outer()
        canvas.legend(figure, [[_MEASURED, _UPPER, _BOUND]])
        return canvas.save(figure, table, stem)


def points(runs: Sequence[Run], metric: str) -> pd.DataFrame:
    """Return the plotted numbers, one row per run and input.

    Added columns are panel, run, norm (NaN where the squared norm is negative) and measured.
    """
    import pandas as pd

    tables = {
        (title, run.path.name): run.table[run.table["metric"] == metric]
        for title, run in zip(names(runs), runs, strict=True)
    }
    table: pd.DataFrame = pd.concat(tables, names=["panel", "run"]).droplevel(-1).reset_index()
    squared, error = table["grad_squared_norm"], table["grad_squared_norm_se"]
    return table.assign(norm=np.sqrt(squared.where(squared >= 0)),
                        measured=squared > ERRORS * error)  # fmt: skip


def _panel(axes: Axes, table: pd.DataFrame, title: str) -> None:
    """Draw the inputs of one run, and count those without deviation."""
    axes.set(xscale="log", yscale="log")
    axes.set_title(title, parse_math=False)
    silent = int((table["std"] == 0).sum())
    axes.text(0.04, 0.97, f"{silent} of {len(table)} inputs: std 0, norm 0",
              transform=axes.transAxes, va="top", size="small")  # fmt: skip
    shown = table[table["std"] > 0]
    if shown.empty:
        return
    measured = shown[shown["measured"]]
    size, alpha = inputs.dot(len(shown))
    squared, error = measured["grad_squared_norm"], measured["grad_squared_norm_se"]
    axes.errorbar(
        measured["std"], measured["norm"],
        yerr=[measured["norm"] - np.sqrt(squared - error),
              np.sqrt(squared + error) - measured["norm"]],
        color=_MEASURED["color"], fmt="o", markersize=size**0.5, alpha=alpha, elinewidth=0.6,
    )  # fmt: skip
    others = shown[~shown["measured"]]
    highest = np.sqrt(
        others["grad_squared_norm"].clip(lower=0) + ERRORS * others["grad_squared_norm_se"]
    )
    axes.scatter(others["std"], highest, s=size, alpha=alpha, color=_UPPER["color"], marker="v",
                 linewidths=0)  # fmt: skip
    if len(measured):
        factor = (measured["norm"] / measured["std"] ** SLOPE).max()
        ends = np.array([shown["std"].min(), shown["std"].max()])
        axes.plot(ends, factor * ends**SLOPE, **_BOUND)
