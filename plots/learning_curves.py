"""Loss and evaluations of text finetuning over epochs or iterations, means over seeds."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from common.errors import Problem, UserError
from plots import captions, lines
from plots.needs import planned
from plots.needs.wanted import Wanted
from plots.options import FigureOptions
from plots.runs import Run, load_runs, metric_names, read_steps
from plots.variants import named_groups, subject

if TYPE_CHECKING:
    import pandas as pd

WANTED = Wanted(
    read_steps,
    "metrics by step and epoch ('step' in metrics.jsonl)",
    'fix: give runs of the experiment "grue_finetune"',
    planned.trains_in_steps,
)
LOSS = "loss"
VALIDATION = "val/"
_PANEL = (3.2, 2.5)
_TITLE_WIDTH = 40


class Options(FigureOptions):
    """Options of the curves of text finetuning."""

    example: ClassVar[str] = "--metrics loss val/lexical/meteor --x step"
    wanted = WANTED
    metric_keys = ("metrics",)

    metrics: list[str] | None = None
    """Metrics to draw, one panel each, in reading order; None for the loss and all validation
    metrics."""
    x: Literal["epoch", "step"] = "epoch"
    """Unit of the horizontal axis; an iteration of reinforcement finetuning is both."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of no panel, or of a repeated one."""
        if self.metrics is not None and (not self.metrics or _repeats(self.metrics)):
            yield Problem("needs at least one metric, and each once", "metrics", self.metrics)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one panel per metric, and return the written paths.

    A line is the mean over runs that differ in seeds alone, and its band is one standard deviation
    to each side.

    Args:
        runs: plan folders and run folders; of a plan, the runs that finetune on text.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run measured any of the metrics, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, WANTED, options.only)
    metrics = _metrics(loaded, options.metrics)
    groups = named_groups(loaded)
    points = statistics(groups, metrics)
    drawn = set(points["line"])
    groups = [group for group in groups if group[0] in drawn]
    with canvas.styled():
        columns = 2 if len(metrics) == 4 else min(len(metrics), 3)
        legend = lines.entries(groups, points, width=columns * _PANEL[0])
        caption = _caption(groups, metrics)
        num_lines = sum(entry["label"].count("\n") + 1 for entry in legend[0])
        num_lines += caption is not None
        labels = [_x_label(groups, points[points["metric"] == name], options.x) for name in metrics]
        shared = len(set(labels)) == 1  # four epochs would be squeezed beside 150 iterations
        figure, grid = canvas.wrapped(len(metrics), columns, _PANEL, lines=num_lines, sharex=shared)
        figure.suptitle(subject(loaded), parse_math=False)
        for place, (axes, metric) in enumerate(zip(grid, metrics, strict=True)):
            title = "training loss" if metric == LOSS else metric_names(loaded, metric)
            axes.set_title(textwrap.fill(title, _TITLE_WIDTH), parse_math=False)
            for look, (name, _) in zip(lines.looks(), groups, strict=False):
                line = points[(points["metric"] == metric) & (points["line"] == name)]
                if len(line):
                    lines.draw_line(axes, line, options.x, look)
            if not shared or place + columns >= len(grid):
                axes.set_xlabel(labels[place])
        canvas.legend(figure, legend, caption=caption)
        return canvas.save(figure, points, stem)


def _caption(groups: Sequence[tuple[str, Sequence[Run]]], metrics: Sequence[str]) -> str | None:
    """Return the numbers of inputs and samples of what evaluations measured, if runs tell them.

    The lines are named whose runs do, where others do not.
    """
    of_splits = [name for name in metrics if name.startswith(captions.SPLITS)]
    measured = [
        (line, [run for run in runs if any(run.column(name) in run.table for name in of_splits)])
        for line, runs in groups
    ]
    told = {
        line: [run for run in runs if captions.tells_inputs(run)] for line, runs in measured if runs
    }
    lines_told = [line for line, runs in told.items() if runs]
    if not lines_told:
        return None
    of_lines = "" if len(lines_told) == len(told) else f" of {', '.join(lines_told)}"
    runs = [run for of_line in told.values() for run in of_line]
    return f"evaluations{of_lines}: {captions.evaluated(runs, of_splits)}"


def _x_label(groups: Sequence[tuple[str, Sequence[Run]]], points: pd.DataFrame, x: str) -> str:
    """Return what the runs with points above the label count."""
    drawn = [runs for name, runs in groups if (points["line"] == name).any()]
    units = list(dict.fromkeys(run.unit for runs in drawn for run in runs))
    return x if x == "step" and units != ["iteration"] else " or ".join(units)


def _repeats(names: Sequence[str]) -> bool:
    return len(set(names)) < len(names)


def _metrics(runs: Sequence[Run], chosen: Sequence[str] | None) -> list[str]:
    """Return the metrics to draw: the configured ones, or the loss and all validation metrics.

    Raises:
        UserError: no run measured one of them.
    """
    measured = list(dict.fromkeys(name for run in runs for name in run.metrics))
    for name in chosen or ():
        if not any(run.column(name) in run.table for run in runs):
            raise UserError(
                f"'metrics' = '{name}': no run measured it; there are {', '.join(measured)}"
            )
    of_validation = [name for name in measured if name.startswith(VALIDATION)]
    found = list(chosen or ()) or [name for name in measured if name == LOSS] + of_validation
    if not found:
        raise UserError(
            f"nothing to draw: no run measured a loss or a validation metric ('{VALIDATION}...'); "
            f"choose from what there is with --metrics: {', '.join(measured) or 'nothing'}"
        )
    return found


def statistics(groups: Sequence[tuple[str, Sequence[Run]]], metrics: Sequence[str]) -> pd.DataFrame:
    """Return the plotted numbers over the runs of each line.

    They are mean, std (ddof 1; NaN for one run) and n. One row per point, with the columns line,
    metric, step, epoch, mean, std, n. A line has points at the steps where its metric was measured.
    """
    import pandas as pd

    found = {}
    for (name, runs), metric in itertools.product(groups, metrics):
        measured = [_points(run, metric) for run in runs if run.column(metric) in run.table]
        if any(map(len, measured)):
            by_step = pd.concat(measured).groupby(level="step")
            of_metric = by_step[metric].agg(mean="mean", std="std", n="count")
            of_metric.insert(0, "epoch", by_step["epoch"].mean())
            found[name, metric] = of_metric
    table: pd.DataFrame = pd.concat(found, names=["line", "metric"])
    return table.reset_index()


def _points(run: Run, metric: str) -> pd.DataFrame:
    """Return the epochs and numbers of a metric, by step."""
    column = run.column(metric)
    return run.table[["epoch", column]].dropna().rename(columns={column: metric})
