"""Ground truth reward of sampled log-linear runs over their seeds, and how many find the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plots.log_linear import curves, panels
from plots.options import FigureOptions

if TYPE_CHECKING:
    import pandas as pd


class Options(FigureOptions):
    """Options of the figure of sampled runs."""

    example: ClassVar[str] = "--only ^sampled"
    wanted = curves.SAMPLED


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one column per probability of the best output at the start: rewards, and shares of runs.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: there are no sampled log-linear runs, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = curves.load(runs, options.only, sampled=True)
    table = points(loaded)
    with canvas.styled():
        starts = table["start"].unique()
        figure, grid = canvas.wrapped(
            2 * len(starts), len(starts), panels.PANEL, sharex=True, sharey="row"
        )
        for above, below, start in zip(grid, grid[len(starts) :], starts, strict=False):
            here = table[(table["start"] == start) & (table["update"] > 0)]
            for name, line in here.groupby("trained_on"):
                panels.draw_band(above, line, curves.LOOKS[name])
                above.plot(line["update"], line["mean"], **curves.LOOKS[name], linewidth=0.7)
                below.plot(line["update"], line["share"], **curves.LOOKS[name])
            above.axhline(loaded[0].mediocre_reward, **panels.STALL)
            above.set(title=panels.title(start))
            below.set(xlabel="update", ylim=(-0.04, 1.04))
        grid[0].set_ylabel("expected ground truth reward")
        grid[len(starts)].set_ylabel(r"share of runs with $\pi(y^*)$ > 0.5")
        lines = [{"label": "mean over runs", "color": "dimgray", "linewidth": 0.7},
                 {"label": "reward of the mediocre output", **panels.STALL}]  # fmt: skip
        canvas.legend(figure, [panels.legend(loaded, several="median, 5 to 95 %"), lines])
        return canvas.save(figure, table, stem)


def points(loaded: Sequence[curves.Curve]) -> pd.DataFrame:
    """Return the bands of the reward, its mean, and the share of runs that find the best output."""
    import pandas as pd

    found = []
    for (start, trained_on), group in curves.groups(loaded).items():
        rewards = pd.concat([curve.table[curves.REWARD] for curve in group], axis=1)
        best = pd.concat([curve.table[curves.BEST] for curve in group], axis=1)
        line = curves.bands(group, curves.REWARD).assign(
            mean=rewards.mean(axis=1).to_numpy(),
            std=rewards.std(axis=1).to_numpy(),
            share=(best > 0.5).mean(axis=1).to_numpy(),
        )
        line.insert(0, "start", start)
        line.insert(1, "trained_on", trained_on)
        found.append(line)
    return pd.concat(found, ignore_index=True)
