"""Reward against drift from the initial model: the Pareto front of each estimate of the KL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from common.errors import Problem, UserError
from plots.captions import over_seeds
from plots.kl_penalties.modes import MODES, Group, groups
from plots.needs import planned
from plots.needs.planned import PlannedRun
from plots.needs.wanted import Wanted, drawn
from plots.options import FigureOptions
from plots.runs import Run, load_runs, read_steps
from plots.variants import subject

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Numbers = NDArray[np.float64]
Split = Literal["val", "test"]
WANTED = Wanted(
    read_steps,
    "metrics by step and epoch ('step' in metrics.jsonl)",
    'fix: give runs of the experiment "grue_finetune"',
    planned.has_penalty,
)
CHOSEN_ON: Split = "val"
"""Split whose means decide which points are on a front."""
_POINT = ["setting", "mode", "strength", "step"]
_BAND: dict[str, Any] = {"alpha": 0.15, "linewidth": 0}
_PANEL = (4.6, 3.4)


class Options(FigureOptions):
    """Options of the fronts."""

    example: ClassVar[str] = "--drift rollout_info/kl_div_mean --reward rollout_info/ep_rew"
    wanted = WANTED

    reward: str = "semantic/learned_automodel_metric"
    """Metric to be high: a metric without its split, or one that has none."""
    drift: str = "fluency_metrics/perplexity"
    """Metric to be low: perplexity or KL, named as the reward is."""
    splits: list[Split] = ["val"]  # noqa: RUF012  pydantic copies defaults
    """Splits to draw, one panel each; a front is always chosen by the validation split's means."""
    largest_drift: Annotated[float, Field(gt=0)] | None = None
    """Largest drift of a point, exclusive; points with more drift in any split are dropped."""
    log_drift: bool = False
    """If true, the axis of drift is logarithmic."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of no panel, a repeated panel, or one metric against itself."""
        if not self.splits or len(set(self.splits)) < len(self.splits):
            yield Problem("needs at least one split, and each once", "splits", self.splits)
        if self.reward == self.drift:
            yield Problem("must differ from 'reward'", "drift", self.drift)

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from super().lacking(runs)
        for key, metric in (("reward", self.reward), ("drift", self.drift)):
            for split in dict.fromkeys([CHOSEN_ON, *self.splits]):
                yield from planned.none_logs(drawn(runs, WANTED), key, metric, split)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one row per setting and one column per split, and return the written paths.

    A point is the mean over seeds at one step of one strength of the penalty (its target or
    coefficient). A line joins the points of a mode that are on its front; its band is one standard
    deviation of the reward to each side. That of the drift is in the CSV.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run measured reward and drift, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    found = list(groups(load_runs(runs, WANTED, options.only)))
    points = statistics(found, options)
    settings = points["setting"].unique().tolist()
    with canvas.styled():
        figure, grid = canvas.panels(settings, len(options.splits), _PANEL)
        figure.suptitle(subject([run for group in found for run in group.runs]), parse_math=False)
        for row, setting in zip(grid, settings, strict=True):
            row[0].set_ylabel(options.reward, parse_math=False)
            for axes, split in zip(row, options.splits, strict=True):
                of_panel = (points["setting"] == setting) & (points["split"] == split)
                _panel(axes, points[of_panel])
                axes.set_xscale("log" if options.log_drift else "linear")
                axes.set_title({"val": "validation", "test": "test"}[split], loc="right")
        for axes in grid[-1]:
            axes.set_xlabel(options.drift, parse_math=False)
        canvas.legend(figure, _legend(points))
        return canvas.save(figure, points, stem)


def statistics(of: Sequence[Group], options: Options) -> pd.DataFrame:
    """Return the plotted numbers, one row per point and split, with whether it is on its front.

    Columns: setting, mode, strength, split, step, reward mean and std, drift mean and std (ddof 1;
    NaN for one run), n and on_front. Only steps that all runs of a group measured count.

    Raises:
        UserError: there is no such point.
    """
    import pandas as pd

    splits = list(dict.fromkeys([CHOSEN_ON, *options.splits]))
    tables = [table for group in of if (table := _of_group(group, splits, options)) is not None]
    points: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    if options.largest_drift is not None and len(points):
        too_far = points["drift_mean"] >= options.largest_drift
        points = points[~too_far.groupby([points[key] for key in _POINT]).transform("any")]
    if points.empty:
        raise UserError(_nothing([run for group in of for run in group.runs], splits, options))
    chosen = points.loc[points["split"] == CHOSEN_ON, [*_POINT, "reward_mean", "drift_mean"]]
    fronts = [
        rows[front(rows["reward_mean"].to_numpy(), rows["drift_mean"].to_numpy())]
        for _, rows in chosen.groupby(["setting", "mode"])
    ]
    on_front = pd.MultiIndex.from_frame(pd.concat(fronts)[_POINT])
    points["on_front"] = pd.MultiIndex.from_frame(points[_POINT]).isin(on_front)
    return points[points["split"].isin(options.splits)].reset_index(drop=True)


def front(reward: Numbers, drift: Numbers) -> NDArray[np.bool]:
    """Return [N] whether no other point has both higher reward and lower drift."""
    better = (reward[None, :] > reward[:, None]) & (drift[None, :] < drift[:, None])
    beaten: NDArray[np.bool] = np.any(better, axis=1)
    return ~beaten


def _of_group(group: Group, splits: Sequence[str], options: Options) -> pd.DataFrame | None:
    """Return the points of a group; None if a run lacks one of the metrics."""
    import pandas as pd

    tables = []
    for split in splits:
        measured = []
        for run in group.runs:
            reward = _column(run, options.reward, split)
            drift = _column(run, options.drift, split)
            if reward is None or drift is None or reward == drift:
                return None
            names = {reward: "reward", drift: "drift"}
            measured.append(run.table[list(names)].rename(columns=names).dropna())
        by_step = pd.concat(measured).groupby(level="step")
        of_split = by_step.agg(["mean", "std"])
        of_split.columns = ["_".join(names) for names in of_split.columns]
        of_split["n"] = by_step.size()
        of_split = of_split[of_split["n"] == len(group.runs)]
        tables.append(of_split.assign(split=split).reset_index())
    found: pd.DataFrame = pd.concat(tables)
    shared = found.groupby("step")["split"].transform("size") == len(splits)
    found = found[shared]
    for place, (name, value) in enumerate(group.keys().items()):
        found.insert(place, name, value)
    return found.reset_index(drop=True)


def _column(run: Run, metric: str, split: str) -> str | None:
    """Return the column of the metric in the split, or without a split if none has it."""
    names = f"{split}/{metric}", run.column(metric)
    return next((name for name in names if name in run.table), None)


def _nothing(runs: Sequence[Run], splits: Sequence[str], options: Options) -> str:
    measured = dict.fromkeys(name for run in runs for name in run.metrics)
    if not measured:
        return "nothing to draw: no run has a KL penalty ('alg.kl_div')"
    limit = "" if options.largest_drift is None else f" below {options.largest_drift:g}"
    return (
        f"nothing to draw: at no step have all runs that differ in seeds alone '{options.reward}' "
        f"and '{options.drift}'{limit} on {' and '.join(splits)}; choose with --reward and "
        f"--drift from {', '.join(measured)}"
    )


def _panel(axes: Axes, points: pd.DataFrame) -> None:
    """Draw each mode's front with its band, and its other points faintly."""
    for mode in MODES.values():
        of_mode = points[points["mode"] == mode.label]
        if of_mode.empty:
            continue
        color = mode.look["color"]
        others = of_mode[~of_mode["on_front"]]
        axes.scatter(others["drift_mean"], others["reward_mean"], s=9, alpha=0.5, color=color,
                     linewidths=0)  # fmt: skip
        line = of_mode[of_mode["on_front"]].sort_values("drift_mean")
        x, y, std = line["drift_mean"], line["reward_mean"], line["reward_std"]
        axes.plot(x, y, markersize=4, **mode.look)
        axes.fill_between(x, y - std, y + std, color=color, **_BAND)


def _legend(points: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Return the legend's entries by column: the modes; the points, and bands of several seeds."""
    present = [mode for mode in MODES.values() if mode.label in set(points["mode"])]
    modes = [{"label": mode.label, **mode.look} for mode in present]
    notes: list[dict[str, Any]] = [
        {"label": "not on the front", "color": "gray", "alpha": 0.5, "marker": "o", "markersize": 3,
         "linestyle": "none"}
    ]  # fmt: skip
    if points["n"].max() > 1:
        label = f"± 1 std over {over_seeds(points['n'])}"
        notes.append({"label": label, "color": "gray", "alpha": 0.3, "linewidth": 8})
    return [modes, notes]
