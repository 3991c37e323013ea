"""Each input's reward std before finetuning against the change of its mean reward through it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from common.errors import Problem
from plots.captions import from_to
from plots.finetuning.correlation import binned_means, pearson, spearman
from plots.finetuning.rewards import LOOKS, METHODS, Finetuned, finetuned, not_before_and_after
from plots.inputs import dot
from plots.needs.planned import PlannedRun
from plots.options import FigureOptions
from plots.runs import load_runs
from plots.sampled.stats import WANTED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_PANEL = (3.9, 2.7)
_BINS: dict[str, Any] = {
    "color": "black",
    "marker": "D",
    "markersize": 4,
    "linewidth": 1.2,
}
_LEAST_OF_BIN = 5
"""Smallest number of inputs of which a mean is drawn."""


class Options(FigureOptions):
    """Options of the figure of changes."""

    example: ClassVar[str] = "--bins 6 --absolute"
    wanted = WANTED
    metric_keys = ("metric",)

    metric: str | None = None
    """Reward to draw; None for the first metric of each data set."""
    bins: int = 8
    """Number of bins of equal width in the std, whose mean changes are drawn."""
    absolute: bool = False
    """If true, the size of each change is drawn, without its sign."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of no bin."""
        if self.bins < 1:
            yield Problem("must be at least 1", "bins", self.bins)

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from super().lacking(runs)
        yield from not_before_and_after(runs)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one row per data set, and one column per way of finetuning, and return the paths.

    A dot is an input: its reward std under the model before, and the change of its mean reward,
    averaged over runs that differ in seeds alone. The runs that sample say which run made their
    model, and so which model was before.

    Args:
        runs: plan folders and run folders; of a plan, the runs that sample.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run was sampled before and after, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    table = points(finetuned(load_runs(runs, WANTED, options.only), options.metric))
    if options.absolute:
        table["change"] = table["change"].abs()
    rows = table["dataset"].unique().tolist()
    columns = table["finetuning"].unique().tolist()
    with canvas.styled():
        figure, grid = canvas.panels(rows, len(columns), _PANEL, lines=3)
        of_rows = zip(rows, grid, strict=True)
        for (dataset, axes_of_row), (place, column) in itertools.product(
            of_rows, enumerate(columns)
        ):
            of_row = table[table["dataset"] == dataset]
            axes = axes_of_row[place]
            _panel(axes, of_row[of_row["finetuning"] == column], column, options.bins)
            axes.set_ylim(*_limits(table["change"]))
        for axes_of_row, dataset in zip(grid, rows, strict=True):
            metric = table.loc[table["dataset"] == dataset, "metric"].iloc[0].rpartition("/")[2]
            words = "size of the change" if options.absolute else "change"
            axes_of_row[0].set_ylabel(f"{words} of mean\n{metric}", parse_math=False)
        for axes in grid[-1]:
            axes.set_xlabel("reward std before")
        canvas.legend(figure, _legend(), caption=_caption(table))
        return canvas.save(figure, table, stem)


def points(found: Sequence[Finetuned]) -> pd.DataFrame:
    """Return the plotted numbers, one row per data set, way of finetuning, and input.

    Columns: dataset, metric, finetuning (method, and the run before where several methods of one
    data set began with different ones), input_id, n (samples), seeds (runs), std_before,
    mean_before, mean_after, change.
    """
    import pandas as pd

    starts = {(one.dataset, one.method, one.start) for one in found}
    several = len(starts) > len({(dataset, method) for dataset, method, _ in starts})
    groups: dict[tuple[str, str, str], list[Finetuned]] = {}
    for one in sorted(found, key=lambda one: METHODS.index(one.method)):
        column = f"{one.method} from {one.start}" if several else one.method
        groups.setdefault((one.dataset, one.metric, column), []).append(one)
    tables = {key: _averaged(of_seeds) for key, of_seeds in groups.items()}
    table: pd.DataFrame = pd.concat(tables, names=["dataset", "metric", "finetuning"])
    order = list(dict.fromkeys(one.dataset for one in found))
    table = table.reset_index().sort_values(
        "dataset", key=lambda names: names.map(order.index), kind="stable", ignore_index=True
    )
    return table.assign(change=table["mean_after"] - table["mean_before"])


def _averaged(runs: Sequence[Finetuned]) -> pd.DataFrame:
    """Return the statistics of each input before, and their means over runs after finetuning."""
    import pandas as pd

    before = pd.concat([one.before for one in runs]).groupby("input_id", sort=False)
    after = pd.concat([one.after for one in runs]).groupby("input_id", sort=False)
    return pd.DataFrame(
        {
            "n": before["n"].max(),
            "seeds": after.size(),
            "std_before": before["std"].mean(),
            "mean_before": before["mean"].mean(),
            "mean_after": after["mean"].mean(),
        }
    )


def _panel(axes: Axes, inputs: pd.DataFrame, title: str, num_bins: int) -> None:
    """Draw the inputs and the means by bins, and write the correlations."""
    if inputs.empty:
        axes.set_title(f"{title}: not sampled", parse_math=False)
        return
    x, y = inputs["std_before"].to_numpy(), inputs["change"].to_numpy()
    area, alpha = dot(len(inputs))
    look = next(look for method, look in LOOKS.items() if title.startswith(method))
    axes.axhline(0, color="dimgray", linewidth=0.8)
    axes.scatter(x, y, s=area, alpha=alpha / 2, color=look["color"], linewidths=0, rasterized=True)
    means = binned_means(x, y, num_bins).query("n >= @_LEAST_OF_BIN")
    ends = [means["y"] - means["low"], means["high"] - means["y"]]
    axes.errorbar(means["x"], means["y"], ends, capsize=2.5, **_BINS)
    axes.set_title(f"{title}\nPearson {pearson(x, y)}\nSpearman {spearman(x, y)}", parse_math=False)


def _limits(change: pd.Series) -> tuple[float, float]:
    low, high = min(change.min(), 0.0), max(change.max(), 0.0)
    margin = (high - low or 1.0) / 20
    return low - margin, high + margin


def _legend() -> list[list[dict[str, Any]]]:
    dots = {"marker": "o", "linestyle": "none", "color": "dimgray", "markersize": 4, "alpha": 0.6}
    return [
        [{"label": "input", **dots}],
        [{"label": f"mean of a bin ({_LEAST_OF_BIN} inputs or more), 95 % interval", **_BINS}],
    ]


def _caption(table: pd.DataFrame) -> str:
    """Return the numbers of inputs, samples and seeds."""
    sizes = table.groupby(["dataset", "finetuning"], sort=False).size()
    n, samples, seeds = (from_to(values) for values in (sizes, table["n"], table["seeds"]))
    runs = f"mean over {seeds} seeds" if table["seeds"].max() > 1 else "one seed"
    return f"n = {n} inputs, K = {samples} samples of each, {runs}; [95 % intervals]"
