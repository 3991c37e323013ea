"""Each input's reward mean against its reward std, over the outputs that a model samples for it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.errors import Problem
from plots.options import FigureOptions
from plots.runs import Run, load_runs
from plots.sampled.mean_std_panel import LOOKS, THRESHOLD, draw_panel
from plots.sampled.stats import WANTED, ddof_of, low_std_of, metric_of
from plots.variants import dataset_names, names, subject

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LARGEST: dict[str, Any] = {
    "color": "dimgray",
    "linestyle": "dotted",
    "linewidth": 1.2,
    "zorder": 1,
}


_ROW_WIDTH = 40
"""Number of letters in a line beside a row."""


class Options(FigureOptions):
    """Options of the figure of reward means and stds."""

    example: ClassVar[str] = "--metric lexical/meteor --low_std 0.001"
    wanted = WANTED
    metric_keys = ("metric",)

    metric: str | None = None
    """Reward to draw; None for the first metric of the runs, in a grid of each data set."""
    grid: bool = False
    """If true, each data set has a row with axes of its own, and each name of runs a column; a
    panel shows all runs with its data and name."""
    low_std: float | None = None
    """Reward std below which an input counts as low; None for the runs' own
    ``evaluation.low_std``."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a threshold that is not above zero."""
        if self.low_std is not None and self.low_std <= 0:
            yield Problem("must be greater than 0", "low_std", self.low_std)


@dataclass(frozen=True)
class Panel:
    """Panel of the figure."""

    title: str
    dataset: str
    """Label of its row in a grid; empty where all panels have the same axes."""
    runs: Sequence[Run]
    metric: str


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one panel per run with equal axes, or a grid of data sets and models.

    Args:
        runs: plan folders and run folders; of a plan, the runs that sample.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Returns:
        The written paths.

    Raises:
        UserError: no run has sampled rewards, the runs have different metrics or thresholds, or
            the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, WANTED, options.only)
    low_std = low_std_of(loaded, options.low_std)
    places = _grid(loaded, options.metric) if options.grid else _row(loaded, options.metric)
    panels = [panel for panel in places if panel is not None]
    table = points(panels, low_std)
    metrics = {panel.metric for panel in panels}
    with canvas.styled():
        wrap_at = 2 if len(places) == 4 else 3
        columns = len({panel.title for panel in panels}) if options.grid else wrap_at
        lines = 2 if len(panels) > 1 else 4
        sharing = {"sharex": "row" if options.grid else True, "sharey": "row"}
        figure, grid = canvas.wrapped(len(places), columns, (3.6, 3.9), lines=lines, **sharing)
        what = [subject(loaded), *(metrics if len(metrics) == 1 else ())]
        figure.suptitle(", ".join(filter(None, what)), parse_math=False)
        for place, (axes, panel) in enumerate(zip(grid, places, strict=True)):
            if panel is None:
                axes.remove()
                continue
            of_row = table[table["dataset"] == panel.dataset]
            inputs = of_row[of_row["panel"] == panel.title]
            _panel(axes, inputs, of_row, low_std, ddof=ddof_of(panel.runs[0]))
            if place % columns == 0 or places[place - 1] is None:
                label = textwrap.fill(panel.dataset, _ROW_WIDTH, break_on_hyphens=False)
                axes.set_ylabel("\n".join(filter(None, [label, "reward std"])))
            if place + columns >= len(grid):
                axes.set_xlabel("reward mean")
        entries = _legend(table, low_std)
        across = [[entry] for entry in entries] if len(grid) > 1 else [entries]
        canvas.legend(figure, across, caption=_caption(panels, table))
        shown = table if options.grid else table.drop(columns="dataset")
        return canvas.save(figure, shown, stem)


def _row(runs: Sequence[Run], metric: str | None) -> list[Panel | None]:
    """Return a panel for each run."""
    shared = metric_of(runs, metric)
    return [Panel(title, "", [run], shared) for title, run in zip(names(runs), runs, strict=True)]


def _grid(runs: Sequence[Run], metric: str | None) -> list[Panel | None]:
    """Return the panels row by row; None where no run has a row's data and a column's name."""
    datasets = dataset_names(runs)
    titles = dict.fromkeys(run.name for run in runs)
    found: list[Panel | None] = []
    for dataset in dict.fromkeys(datasets):
        of_row = [run for run, name in zip(runs, datasets, strict=True) if name == dataset]
        shared = metric_of(of_row, metric)
        for title in titles:
            here = [run for run in of_row if run.name == title]
            found.append(Panel(title, dataset, here, shared) if here else None)
    return found


def points(panels: Sequence[Panel], low_std: float) -> pd.DataFrame:
    """Return the plotted numbers, one row per run and input, as the runs have them.

    Added columns are dataset and panel (labels of the panel), run (its folder) and low_std.
    """
    import pandas as pd

    tables = {
        (panel.dataset, panel.title, run.path.name): run.table[run.table["metric"] == panel.metric]
        for panel in panels
        for run in panel.runs
    }
    table: pd.DataFrame = pd.concat(tables, names=["dataset", "panel", "run"])
    return table.assign(low_std=table["std"] < low_std).droplevel(-1).reset_index()


def _panel(
    axes: Axes, inputs: pd.DataFrame, of_row: pd.DataFrame, low_std: float, *, ddof: int
) -> None:
    """Draw the inputs of a panel; those of its whole row set the axes."""
    limits = _limits(of_row, low_std)
    axes.set(xlim=limits[0], ylim=limits[1])
    axes.locator_params(nbins=6)
    draw_panel(axes, inputs, low_std)
    _largest(axes, inputs, of_row, ddof=ddof)


def _limits(table: pd.DataFrame, low_std: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ends of both axes, with room for dots at the extreme values."""
    low, high = table["mean"].min(), table["mean"].max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    top = max(table["std"].max(), 2 * low_std)
    margin = (high - low) / 25
    return (low - margin, high + margin), (-top / 25, top * 1.06)


def _largest(axes: Axes, inputs: pd.DataFrame, table: pd.DataFrame, *, ddof: int) -> None:
    """Draw the largest std that each mean allows if no reward is outside the runs' range.

    Rewards from a to b have at most the variance (mean - a)(b - mean), reached if each is a or b
    (Bhatia and Davis, 2000).
    """
    low, high, num_samples = table["min"].min(), table["max"].max(), inputs["n"].max()
    mean = np.linspace(low, high, 400)
    variance = (mean - low) * (high - mean) * num_samples / (num_samples - ddof)
    axes.plot(mean, np.sqrt(variance), scalex=False, scaley=False, **_LARGEST)


def _legend(table: pd.DataFrame, low_std: float) -> list[dict[str, Any]]:
    ranges = (
        table.groupby("dataset", sort=False).agg({"min": "min", "max": "max"}).drop_duplicates()
    )
    ends = [f"{low:.3g} to {high:.3g}" for low, high in ranges.itertuples(index=False)]
    return [
        {"label": f"input with std below {low_std:g}", **LOOKS[True], **THRESHOLD},
        {"label": "other input", **LOOKS[False]},
        {"label": f"largest std of rewards from {_each(ends)}", **_LARGEST},
    ]


def _caption(panels: Sequence[Panel], table: pd.DataFrame) -> str:
    """Return the numbers of inputs, samples and runs, panel by panel if they differ."""
    of_runs = table.groupby(["dataset", "panel", "run"], sort=False)["n"]
    num_inputs = _each([f"{size:,}" for size in of_runs.size()])
    num_samples = _each([f"{count:,}" for count in of_runs.max()])
    ddof = _each([str(ddof_of(run)) for panel in panels for run in panel.runs])
    most = max(len(panel.runs) for panel in panels)
    runs = f", up to {most} seeds in a panel" if most > 1 else ""
    return (
        f"n = {num_inputs} inputs, K = {num_samples} samples of each (std with ddof {ddof}){runs}"
    )


def _each(values: Sequence[str]) -> str:
    return values[0] if len(set(values)) == 1 else " / ".join(values)
