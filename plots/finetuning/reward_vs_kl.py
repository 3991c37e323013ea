"""Reward against KL to the first model, from iteration to iteration of RFT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.errors import Problem, UserError
from plots import captions, lines
from plots.bars import bars
from plots.finetuning import sweeps
from plots.options import FigureOptions
from plots.runs import Run, load_runs
from plots.variants import named_groups, subject

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SIZE = (5.5, 3.4)


class Options(FigureOptions):
    """Options of the figure of rewards against KL."""

    example: ClassVar[str] = "--log_kl --points 30"
    wanted = sweeps.WANTED
    metric_keys = ("reward", "kl")

    reward: str = "rollout_info/ep_rew"
    """Metric of the vertical axis, measured in the same iterations as the KL."""
    kl: str = "objective/kl"
    """Metric of the KL of an output, in nats."""
    points: int = 12
    """Number of points of a line: each is the mean over as many neighbouring iterations."""
    log_kl: bool = False
    """If true, the axis of the KL is logarithmic; points and bars are then those of logarithms."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of no point, and of one metric against itself."""
        if self.points < 1:
            yield Problem("must be at least 1", "points", self.points)
        if self.reward == self.kl:
            yield Problem("must differ from 'reward'", "kl", self.kl)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one line per group of runs that differ in seeds alone, and return the written paths.

    A point is the mean over seeds of the means over some iterations; its bars are one standard
    deviation over seeds in both directions.

    Args:
        runs: plan folders and run folders; of a plan, the runs that finetune by rewards.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run measured both, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, sweeps.WANTED, options.only)
    measured = [run for run in loaded if not _iterations(run, options).empty]
    if not measured:
        known = ", ".join(dict.fromkeys(name for run in loaded for name in run.metrics))
        raise UserError(
            f"nothing to draw: no run measured '{options.reward}' and '{options.kl}' in the same "
            f"iterations; choose with --reward and --kl from {known}"
        )
    groups = named_groups(measured)
    table = statistics(groups, options)
    with canvas.styled():
        legend = lines.entries(groups, table, width=_SIZE[0], spread=lines.CROSS)
        figure, (axes,) = canvas.wrapped(1, 1, _SIZE, lines=len(legend[0]) + 3)
        figure.suptitle(subject(measured), parse_math=False)
        for look, (name, _) in zip(lines.looks(), groups, strict=False):
            _line(axes, table[table["line"] == name], look)
        axes.set_xscale("log" if options.log_kl else "linear")
        axes.set_xlabel(f"{options.kl} (nats)", parse_math=False)
        axes.set_ylabel(options.reward, parse_math=False)
        canvas.legend(figure, legend, caption=_caption(measured, options))
        return canvas.save(figure, table, stem)


def statistics(groups: Sequence[tuple[str, Sequence[Run]]], options: Options) -> pd.DataFrame:
    """Return the plotted numbers, one row per point of a line.

    Columns: line, iteration (mean), reward and reward_std, kl with the ends of its bar kl_low and
    kl_high (NaN for one run), and n runs. On a logarithmic axis a point's KL and its bar are the
    mean and deviation of logarithms; a KL that is not above zero has none.
    """
    import pandas as pd

    found = {}
    for name, runs in groups:
        parts = pd.concat([_parts(_iterations(run, options), options.points) for run in runs])
        by_part = parts.groupby(level=0)
        kl = bars(parts["kl"], log=options.log_kl)
        found[name] = pd.DataFrame(
            {
                "iteration": by_part["iteration"].mean(),
                "reward": by_part["reward"].mean(),
                "reward_std": by_part["reward"].std(),
                "kl": kl["drawn"],
                "kl_low": kl["low"],
                "kl_high": kl["high"],
                "n": by_part.size(),
            }
        )
    table: pd.DataFrame = pd.concat(found, names=["line", "point"])
    return table.dropna(subset="kl").reset_index()


def _iterations(run: Run, options: Options) -> pd.DataFrame:
    """Return iteration, reward and KL of the iterations that measured both."""
    import pandas as pd

    columns = [run.column(options.reward), run.column(options.kl)]
    if not set(columns) <= set(run.table.columns):
        return pd.DataFrame()
    rows = run.table[["epoch", *columns]].dropna()
    return rows.set_axis(["iteration", "reward", "kl"], axis="columns")


def _parts(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the means over each of ``count`` equal parts of the iterations, by its number."""
    return rows.groupby(np.arange(len(rows)) * count // len(rows)).mean()


def _caption(runs: Sequence[Run], options: Options) -> str:
    """Return the numbers of inputs and samples, and of the points of a line."""
    is_evaluated = options.reward.startswith(captions.SPLITS)
    counts = (
        captions.evaluated(runs, [options.reward]) if is_evaluated else captions.drawn_outputs(runs)
    )
    most = max(len(_iterations(run, options)) for run in runs)
    if options.points >= most:
        return counts
    return f"{counts}; means over {options.points} parts of the iterations"


def _line(axes: Axes, line: pd.DataFrame, look: dict[str, Any]) -> None:
    """Draw a line with the deviations of its points in both directions."""
    across = [line["kl"] - line["kl_low"], line["kl_high"] - line["kl"]]
    axes.plot(line["kl"], line["reward"], **look)
    axes.errorbar(
        line["kl"], line["reward"], line["reward_std"], across, color=look["color"],
        linestyle="none", elinewidth=0.8, alpha=0.5,
    )  # fmt: skip
