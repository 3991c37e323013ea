"""Silent groups, held-out accuracy and pass@k by difficulty, against samples drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from common.errors import Problem, UserError
from common.run.folder import RunFolder
from plots import lines
from plots.captions import SAMPLES
from plots.learning_signal.group_shares import (
    SHARES,
    Measured,
    levels,
    measured_ks,
    statistics,
)
from plots.learning_signal.labels_used import labels_used
from plots.needs import planned
from plots.needs.planned import PlannedRun
from plots.needs.wanted import Wanted, drawn
from plots.options import FigureOptions
from plots.runs import Run, load_runs, read_steps
from plots.variants import named_groups, subject

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_GROUP_BY = "train_evaluation.group_by"
_FIX = (
    "fix: give runs that finetune by rewards with groups of outputs, in whose plan "
    f"'{_GROUP_BY}' names a metadata key"
)
_PANEL = (3.8, 1.5)
_LEAST_TOP = 0.05
"""Smallest upper end of an axis of accuracies."""
_MARGIN = 0.05
"""Share of an axis beyond its ends, where markers at them are seen whole."""


def _read(folder: RunFolder) -> pd.DataFrame | None:
    """Return the run's metrics by step; None if it tells no shares of groups."""
    table = read_steps(folder)
    has_them = table is not None and {SAMPLES, "groups/mixed"} <= set(table.columns)
    return table if has_them else None


WANTED = Wanted(
    _read, f"shares of groups and '{SAMPLES}' in metrics.jsonl", _FIX, planned.draws_groups
)


class Options(FigureOptions):
    """Options of the figure of silent groups."""

    example: ClassVar[str] = "--split test --k 4"
    wanted = WANTED

    group_by: str = "difficulty"
    """Metadata key of inputs whose values are the columns, ``train_evaluation.group_by``."""
    metric: str = "answer/accuracy"
    """Metric of right outputs, drawn with its pass@k."""
    split: str = "val"
    """Split of the held-out inputs."""
    k: int | None = None
    """Number of outputs for pass@k; None for the largest that all runs measured."""
    points: int = 20
    """Number of points of a line; shares of groups are means between two of them."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of no point."""
        if self.points < 1:
            yield Problem("must be at least 1", "points", self.points)

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from super().lacking(runs)
        own = drawn(runs, WANTED)
        if own and not any(run.is_users or run.key(_GROUP_BY) == self.group_by for run in own):
            yield Problem(
                f"no run of the plan will tell groups by it; {_FIX}", "group_by", self.group_by
            )
        yield from planned.none_logs(own, "metric", self.metric, self.split)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one column per difficulty and one row per quantity, and return the written paths.

    A line is the mean over runs that differ in seeds alone, and its band is one standard deviation
    to each side. Its label tells the labelled inputs that the runs used beyond those of all.

    Args:
        runs: plan folders and run folders; of a plan, the runs that tell shares of groups.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run tells shares of groups by difficulty, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, WANTED, options.only)
    every = levels(loaded, options.group_by)
    measured = _measured(loaded, options)
    groups, labels = _labelled(loaded)
    points = statistics(groups, measured, options.points)
    points["labels"] = points["line"].map(labels)
    rows = [name for name in measured.quantities if name in set(points["quantity"])]
    with canvas.styled():
        legend = lines.entries(groups, points, width=len(every) * _PANEL[0])
        figure, grid = canvas.wrapped(
            len(rows) * len(every), len(every), _PANEL, lines=len(legend[0]), sharex=True
        )
        figure.suptitle(subject(loaded), parse_math=False)
        panels = itertools.product(rows, every)
        for place, (axes, (quantity, level)) in enumerate(zip(grid, panels, strict=True)):
            of_quantity = points[points["quantity"] == quantity]
            here = of_quantity[of_quantity["level"] == level]
            _panel(axes, here, [name for name, _ in groups])
            _scale(axes, of_quantity, quantity)
            if place < len(every):
                axes.set_title(f"{options.group_by} {level}", parse_math=False)
            if place % len(every) == 0:
                axes.set_ylabel(_in_words(quantity))
            if place >= len(grid) - len(every):
                axes.set_xlabel("samples drawn")
        canvas.legend(figure, legend)
        return canvas.save(figure, points, stem)


def _measured(runs: Sequence[Run], options: Options) -> Measured:
    """Return the names of what is drawn.

    Raises:
        UserError: not all runs measured the pass@k that was asked for.
    """
    metric = f"{options.split}/{options.metric}"
    ks = measured_ks(runs, metric)
    if options.k is not None and options.k not in ks:
        known = ", ".join(map(str, ks)) or "none"
        raise UserError(f"'k' = {options.k}: not all runs measured it; measured: {known}")
    return Measured(options.group_by, metric, options.k or max(ks, default=1))


def _labelled(runs: Sequence[Run]) -> tuple[list[tuple[str, list[Run]]], dict[str, int]]:
    """Return the lines with their runs, and the labelled inputs of each; lines say theirs."""
    used = labels_used(runs)
    groups, labels = [], {}
    for name, of_line in named_groups(runs):
        count = max(used[run.path] for run in of_line)
        words = f"{name}, {count:,} labels" if count else name
        groups.append((words, of_line))
        labels[words] = count
    return groups, labels


def _panel(axes: Axes, points: pd.DataFrame, names: Sequence[str]) -> None:
    for place, (look, name) in enumerate(zip(lines.looks(), names, strict=False)):
        line = points[points["line"] == name]
        if len(line):
            lines.draw_line(axes, line, "samples", look, place=place)


def _scale(axes: Axes, points: pd.DataFrame, quantity: str) -> None:
    """Set the axes: vertically 0 to 1 for shares, and as much as all levels' accuracies need."""
    top = 1.0
    if quantity not in SHARES and len(points):
        top = min(max((points["mean"] + points["std"].fillna(0)).max(), _LEAST_TOP), 1.0)
    axes.set_ylim(-_MARGIN * top, (1 + _MARGIN) * top)
    axes.set_xlim(0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")


def _in_words(quantity: str) -> str:
    return f"{quantity}\n({'share of groups' if quantity in SHARES else 'held out'})"
