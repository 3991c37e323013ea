"""Reward, train accuracy, gradient norm and reward std over the epochs, SFT against RFT."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from common.errors import Problem, UserError
from plots.bars import ENDS, bars
from plots.captions import from_to
from plots.methods import in_order, method
from plots.needs import planned
from plots.needs.wanted import Wanted
from plots.options import FigureOptions
from plots.runs import CHANGED, OTHERS, PARTS, load_runs, read_curves
from plots.variants import Variant, subject, variants

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Metric = Literal["reward", "train accuracy", "grad norm", "normalized grad norm", "avg reward std"]

COLUMNS: list[Metric] = ["reward", "train accuracy", "grad norm", "avg reward std"]
WANTED = Wanted(
    read_curves,
    f"metrics of inputs with a changed label ('... {CHANGED}' in metrics.jsonl)",
    "fix: set 'frac_samples_to_modify_labels' above 0, and leave 'diagnostics' on, in the plan",
    lambda run: planned.changes_labels(run) and run.key("diagnostics"),
)


class Options(FigureOptions):
    """Options of the controlled figure."""

    example: ClassVar[str] = "--smooth 5 --log_epochs"
    wanted = WANTED

    metrics: list[Metric] = COLUMNS
    """Columns, from left to right."""
    log_epochs: bool = False
    """If true, the axis of epochs is logarithmic; it then shows epoch + 1."""
    smooth: int = 1
    """Number of measured epochs in the centred running mean that is drawn; the CSV has raw
    numbers."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of no column, a repeated column, or no epoch to average."""
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            yield Problem("needs at least one metric, and each once", "metrics", self.metrics)
        if self.smooth < 1:
            yield Problem("must be at least 1", "smooth", self.smooth)


@dataclass(frozen=True)
class _Scale:
    """Vertical axis of a metric: linear over ``limits`` at least, or logarithmic."""

    label: str
    limits: tuple[float, float] | None = None

    @property
    def is_log(self) -> bool:
        """True if the axis is logarithmic."""
        return self.limits is None


_SCALES = {
    "reward": _Scale("reward", (-1.0, 1.0)),
    "train accuracy": _Scale("train accuracy", (0.0, 1.0)),
    "grad norm": _Scale("gradient norm"),
    "normalized grad norm": _Scale("gradient norm / weight norm"),
    "avg reward std": _Scale("reward std", (0.0, 1.0)),
}
_DECADES = 6
"""Largest number of decades of a logarithmic axis."""
_LINES: dict[str, Any] = {
    CHANGED: {"linestyle": "solid", "linewidth": 1.8},
    OTHERS: {"linestyle": (0, (4, 1.5)), "linewidth": 1.3, "markerfacecolor": "white"},
}
_PARTS_IN_WORDS = {CHANGED: f"changed inputs ({CHANGED})", OTHERS: f"other inputs ({OTHERS})"}


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one row per variant and one column per metric, and return the written paths.

    A line is the mean over the runs of one method, its band one standard deviation to each side; on
    logarithmic axes those of logarithms.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run measured anything on changed inputs, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, WANTED, options.only)
    rows = variants(loaded)
    points = statistics(rows, options.metrics)
    with canvas.styled():
        titles = [variant.title for variant in rows]
        figure, grid = canvas.panels(titles, len(options.metrics), (2.9, 2.3))
        figure.suptitle(subject(loaded))
        for column, metric in enumerate(options.metrics):
            of_metric = points[points["metric"] == metric]
            _scale(grid[0][column], of_metric, metric, log_epochs=options.log_epochs)
            for row, title in enumerate(titles):
                _panel(grid[row][column], of_metric[of_metric["variant"] == title], options)
                grid[row][column].set_title(_SCALES[metric].label)
            grid[-1][column].set_xlabel("epoch + 1" if options.log_epochs else "epoch")
        canvas.legend(figure, _legend(rows))
        return canvas.save(figure, points, stem)


def statistics(rows: Sequence[Variant], metrics: Sequence[str]) -> pd.DataFrame:
    """Return the plotted numbers over the runs of each line.

    They are mean, std (ddof 1; NaN for one run) and n. One row per point, with the columns variant,
    method, part, metric, epoch, mean, std, n, and what is drawn, see `plots.bars.bars`.

    Raises:
        UserError: no run has any of ``metrics``.
    """
    import pandas as pd

    lines = {}
    for variant, metric, part in itertools.product(rows, metrics, PARTS):
        column = f"{metric} {part}"
        for name, runs in variant.methods.items():
            measured = [run.table[column].dropna() for run in runs if column in run.table]
            if any(map(len, measured)):
                values = pd.concat(measured)
                line = values.groupby(level="epoch").agg(mean="mean", std="std", n="count")
                line = line.join(bars(values, log=_SCALES[metric].is_log))
                lines[variant.title, name, part, metric] = line
    if not lines:
        raise UserError(f"nothing to draw: no run measured {', '.join(metrics)}")
    table: pd.DataFrame = pd.concat(lines, names=["variant", "method", "part", "metric"])
    return table.reset_index()


def _scale(axes: Axes, points: pd.DataFrame, metric: str, *, log_epochs: bool) -> None:
    """Set the axes that all panels of a column share."""
    if log_epochs:
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    limits = _SCALES[metric].limits
    if limits:
        low, high = min(limits[0], points["drawn"].min()), max(limits[1], points["drawn"].max())
        margin = (high - low) / 25  # keeps lines on the limits visible
        axes.set_ylim(low - margin, high + margin)
        axes.set_yticks([limits[0], sum(limits) / 2, limits[1]])
        return
    if points["drawn"].notna().any():
        low, high = points[ENDS].min().min(), points[ENDS].max().max()
        axes.set_yscale("log")
        axes.set_ylim(max(low, high / 10**_DECADES) / 1.5, high * 1.5)


def _panel(axes: Axes, points: pd.DataFrame, options: Options) -> None:
    """Draw the lines of one variant and metric, with their bands."""
    lines = points.groupby(["method", "part"], sort=False)
    for position, (_, line) in enumerate(lines):
        name, part = line[["method", "part"]].iloc[0]
        look = method(name)
        epochs = line["epoch"] + int(options.log_epochs)
        smooth = line[ENDS].rolling(options.smooth, min_periods=1, center=True).mean()
        shown = np.log(epochs) if options.log_epochs else epochs
        marked = _evenly_spaced(shown.to_numpy(), 5, shift=position / len(lines))
        axes.plot(epochs, smooth["drawn"], color=look.color, marker=look.marker, markevery=marked,
                  **_LINES[part])  # fmt: skip
        axes.fill_between(epochs, smooth["low"], smooth["high"], color=look.color, alpha=0.2,
                          linewidth=0)  # fmt: skip
    if points.empty:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center")


def _evenly_spaced(x: np.ndarray[Any, Any], count: int, *, shift: float) -> list[int]:
    """Return the positions of about ``count`` points of rising ``x`` at even distances.

    ``shift``, in distances, moves them, so that the markers of several lines stand apart.
    """
    wanted = x[0] + (x[-1] - x[0]) / count * (np.arange(count) + shift)
    return sorted(set(np.abs(x[:, None] - wanted).argmin(axis=0).tolist()))


def _legend(rows: Sequence[Variant]) -> list[list[dict[str, Any]]]:
    """Return the legend's entries by column: methods with their number of runs.

    Parts, and bands.
    """
    methods = []
    for name in in_order([name for variant in rows for name in variant.methods]):
        counts = {len(variant.methods[name]) for variant in rows if name in variant.methods}
        n = from_to(counts)
        look = method(name)
        methods.append(
            {
                "label": f"{look.label} ({n} run{'' if n == '1' else 's'})",
                "color": look.color,
                "marker": look.marker,
            }
        )
    parts = [
        {"label": words, "color": "dimgray", "marker": "o", **_LINES[part]}
        for part, words in _PARTS_IN_WORDS.items()
    ]
    if any(len(runs) > 1 for variant in rows for runs in variant.methods.values()):
        parts.append(
            {"label": "± 1 standard deviation", "color": "gray", "alpha": 0.3, "linewidth": 8}
        )
    return [methods, parts]
