"""Each input's reward mean against its reward std, over the outputs that a model samples for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.errors import Problem, UserError
from common.key_paths import value_at
from common.run.folder import RunFolder, read_json
from plots.mean_std_panel import LOOKS, THRESHOLD, draw_panel
from plots.options import FigureOptions
from plots.runs import Run, Wanted, load_runs
from plots.variants import names, subject

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

COLUMNS = ["input_id", "metric", "n", "mean", "std", "min", "max", "zero_std"]
_NUMBERS = ["mean", "std", "min", "max"]
_LARGEST: dict[str, Any] = {
    "color": "dimgray",
    "linestyle": "dotted",
    "linewidth": 1.2,
    "zorder": 1,
}


def read_stats(folder: RunFolder) -> pd.DataFrame | None:
    """Return the reward statistics per input of a run that samples; None for other runs."""
    import pandas as pd

    path = folder.table("reward_stats")
    try:
        table = pd.read_parquet(path, columns=COLUMNS)
        table[_NUMBERS] = table[_NUMBERS].apply(pd.to_numeric)
    except FileNotFoundError:
        if _samples(folder):
            logger.warning("%s: missing; the run has not sampled all its inputs yet", path)
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s: left out, cannot be read: %s", path, str(error).partition("\n")[0])
        return None
    defined = np.isfinite(table["std"])
    if not defined.any():
        logger.warning("%s: left out, one sample per input has no std", path)
    return table[defined] if defined.any() else None


def _samples(folder: RunFolder) -> bool:
    """Return whether the run samples, even if it has no results yet."""
    try:
        config = read_json(folder.config)
    except (OSError, ValueError):
        return False
    return value_at(config, "evaluation.num_samples_per_input") is not None


WANTED = Wanted(
    read_stats,
    "statistics of sampled rewards (reward_stats.parquet)",
    'fix: give runs of the experiment "grue_extract" with at least 2 samples per input',
)


class Options(FigureOptions):
    """Options of the figure of reward means and stds."""

    example: ClassVar[str] = "--metric lexical/meteor --low_std 0.001"

    metric: str | None = None
    """Reward to draw; None for the first metric of the runs."""
    low_std: float | None = None
    """Reward std below which an input counts as low; None for the runs' own
    ``evaluation.low_std``."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a threshold that is not above zero."""
        if self.low_std is not None and self.low_std <= 0:
            yield Problem("must be greater than 0", "low_std", self.low_std)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one panel per run, all with the same axes, and return the written paths.

    Args:
        runs: plan folders and run folders; of a plan, the runs that sample.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run has sampled rewards, the runs have different metrics or thresholds, or
            the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, WANTED, options.only)
    metric, low_std = metric_of(loaded, options.metric), _low_std(loaded, options)
    table = points(loaded, metric, low_std)
    by_panel = [table[table["panel"] == title] for title in names(loaded)]
    with canvas.styled():
        columns = 2 if len(loaded) == 4 else 3
        lines = 2 if len(loaded) > 1 else 4
        figure, grid = canvas.wrapped(
            len(loaded), columns, (3.6, 3.9), lines=lines, sharex=True, sharey=True
        )
        figure.suptitle(", ".join(filter(None, [subject(loaded), metric])), parse_math=False)
        limits = _limits(table, low_std)
        for place, (axes, run, inputs) in enumerate(zip(grid, loaded, by_panel, strict=True)):
            axes.set(xlim=limits[0], ylim=limits[1])
            axes.locator_params(nbins=6)
            draw_panel(axes, inputs, low_std)
            _largest(axes, inputs, table, ddof=_ddof(run))
            if place % columns == 0:
                axes.set_ylabel("reward std")
            if place + columns >= len(grid):
                axes.set_xlabel("reward mean")
        entries = _legend(table, low_std)
        across = [[entry] for entry in entries] if len(grid) > 1 else [entries]
        canvas.legend(figure, across, caption=_caption(loaded, by_panel))
        return canvas.save(figure, table, stem)


def metric_of(runs: Sequence[Run], wanted: str | None) -> str:
    """Return the metric that all runs have: the wanted one, or the first of each.

    Raises:
        UserError: a run lacks the wanted one, or the first ones differ.
    """
    metrics = {run.path.name: run.table["metric"].unique().tolist() for run in runs}
    if wanted is not None:
        for name, known in metrics.items():
            if wanted not in known:
                raise UserError(
                    f"'metric' = '{wanted}': {name} has none such; it has {', '.join(known)}"
                )
        return wanted
    if len({known[0] for known in metrics.values()}) > 1:
        lines = [f"  {name}: {', '.join(known)}" for name, known in metrics.items()]
        raise UserError(
            "the runs have different first metrics, which one axis cannot show; choose one with "
            "--metric, or draw the runs apart:\n" + "\n".join(lines)
        )
    return str(metrics[runs[0].path.name][0])


def _low_std(runs: Sequence[Run], options: Options) -> float:
    """Return the threshold: the configured one, or that of all runs.

    Raises:
        UserError: the runs' thresholds differ.
    """
    if options.low_std is not None:
        return options.low_std
    found = {float(value_at(run.config, "evaluation.low_std", 0.01)) for run in runs}
    if len(found) > 1:
        shown = ", ".join(f"{value:g}" for value in sorted(found))
        raise UserError(
            f"the runs have different thresholds 'evaluation.low_std': {shown}; choose one with "
            "--low_std"
        )
    return found.pop()


def _ddof(run: Run) -> int:
    return int(value_at(run.config, "evaluation.ddof", 1))


def points(runs: Sequence[Run], metric: str, low_std: float) -> pd.DataFrame:
    """Return the plotted numbers, one row per run and input, as the runs have them.

    Added columns are panel (the run's title), run (its folder) and low_std.
    """
    import pandas as pd

    tables = {
        (title, run.path.name): run.table[run.table["metric"] == metric]
        for title, run in zip(names(runs), runs, strict=True)
    }
    table: pd.DataFrame = pd.concat(tables, names=["panel", "run"])
    return table.assign(low_std=table["std"] < low_std).droplevel(-1).reset_index()


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
    ends = f"{table['min'].min():.3g} to {table['max'].max():.3g}"
    return [
        {"label": f"input with std below {low_std:g}", **LOOKS[True], **THRESHOLD},
        {"label": "other input", **LOOKS[False]},
        {"label": f"largest std of rewards from {ends}", **_LARGEST},
    ]


def _caption(runs: Sequence[Run], by_panel: Sequence[pd.DataFrame]) -> str:
    """Return the numbers of inputs and samples, panel by panel if they differ."""
    num_inputs = _each([f"{len(inputs):,}" for inputs in by_panel])
    num_samples = _each([f"{inputs['n'].max():,}" for inputs in by_panel])
    ddof = _each([str(_ddof(run)) for run in runs])
    return f"n = {num_inputs} inputs, K = {num_samples} samples of each (std with ddof {ddof})"


def _each(values: Sequence[str]) -> str:
    return values[0] if len(set(values)) == 1 else " / ".join(values)
