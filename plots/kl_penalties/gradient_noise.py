"""Variance of gradients over minibatches, by strength and estimate of the KL penalty."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from common.errors import Problem, UserError
from plots.bars import bars
from plots.captions import over_seeds
from plots.kl_penalties.modes import MODES, Group, groups, strength_in_words
from plots.needs import planned
from plots.needs.planned import PlannedRun
from plots.needs.wanted import Wanted
from plots.options import FigureOptions
from plots.runs import load_runs, metric_names, read_steps
from plots.variants import subject

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NOISE = "ppo/grad_variance"
_MEASURED = "alg.args.measure_gradient_noise"
_FIX = f"fix: set '{_MEASURED}' to true in the plan"
WANTED = Wanted(
    read_steps,
    "metrics by step and epoch ('step' in metrics.jsonl)",
    _FIX,
    planned.has_penalty,
)
_PANEL = (4.6, 3.2)
_APART = 0.05
"""Distance between the modes, in distances of two strengths."""


class Options(FigureOptions):
    """Options of the figure of gradient noise."""

    example: ClassVar[str] = "--metric ppo/grad_variance"
    wanted = WANTED

    metric: str = NOISE
    """Quantity to draw: a number of every iteration, above zero."""

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from super().lacking(runs)
        if self.metric == NOISE and not any(run.is_users or run.key(_MEASURED) for run in runs):
            yield Problem(f"no run of the plan will measure it; {_FIX}", "metric", self.metric)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one panel per setting, and return the written paths.

    A run's value is the median over its iterations, since single ones can be far off. A point is
    the mean of logarithms over seeds, and its bar is their standard deviation to each side.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run measured the quantity, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, WANTED, options.only)
    found = list(groups(loaded))
    points = statistics(found, options.metric)
    name = metric_names([run for group in found for run in group.runs], options.metric)
    settings = points["setting"].unique().tolist()
    with canvas.styled():
        figure, grid = canvas.panels(settings, 1, _PANEL)
        figure.suptitle(subject([run for group in found for run in group.runs]), parse_math=False)
        for axes, setting in zip(itertools.chain(*grid), settings, strict=True):
            _panel(axes, points[points["setting"] == setting])
            axes.set_ylabel(f"{name}\n(median over iterations)", parse_math=False)
        grid[-1][0].set_xlabel(strength_in_words([run for group in found for run in group.runs]))
        canvas.legend(figure, _legend(points))
        return canvas.save(figure, points, stem)


def statistics(of: Sequence[Group], metric: str) -> pd.DataFrame:
    """Return the plotted numbers: mean, std (ddof 1; NaN for one run) and n over each group's runs.

    Columns: setting, mode, strength, mean, std, n, and what is drawn, see `plots.bars.bars`.

    Raises:
        UserError: no run measured the metric.
    """
    import pandas as pd

    rows = []
    for group in of:
        medians = pd.Series(
            [
                run.table[run.column(metric)].median()
                for run in group.runs
                if run.column(metric) in run.table
            ]
        )
        if len(medians):
            summary = {"mean": medians.mean(), "std": medians.std(), "n": len(medians)}
            drawn = bars(medians.set_axis([0] * len(medians)), log=True).iloc[0]
            rows.append(group.keys() | summary | drawn.to_dict())
    if not rows:
        raise UserError(f"nothing to draw: no run with a KL penalty measured '{metric}'\n  {_FIX}")
    return pd.DataFrame(rows)


def _panel(axes: Axes, points: pd.DataFrame) -> None:
    """Draw the modes side by side at each strength; strengths are at even distances."""
    strengths = sorted(points["strength"].unique())
    for number, mode in enumerate(MODES.values()):
        line = points[points["mode"] == mode.label]
        shift = (number - (len(MODES) - 1) / 2) * _APART
        places = [strengths.index(value) + shift for value in line["strength"]]
        ends = [line["drawn"] - line["low"], line["high"] - line["drawn"]]
        axes.errorbar(places, line["drawn"], ends, capsize=2, **mode.look)
    axes.set_yscale("log")
    axes.set_xticks(range(len(strengths)), [f"{value:g}" for value in strengths])


def _legend(points: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Return the legend's entries: the modes, and the meaning of bars if there are any."""
    present = [mode for mode in MODES.values() if mode.label in set(points["mode"])]
    entries = [{"label": mode.label, **mode.look} for mode in present]
    if points["n"].max() > 1:
        label = f"± 1 standard deviation of logarithms over {over_seeds(points['n'])}"
        bar = {"color": "gray", "marker": "|", "markersize": 12, "linestyle": "none"}
        entries.append({"label": label, **bar})
    return [entries]
