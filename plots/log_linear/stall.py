"""Ground truth reward of exact log-linear runs, trained on the ground truth or on a proxy."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from plots.log_linear import curves, panels
from plots.options import FigureOptions


class Options(FigureOptions):
    """Options of the figure of ground truth rewards."""

    example: ClassVar[str] = "--only ^exact"
    wanted = curves.EXACT


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one panel per probability of the best output at the start.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: there are no exact log-linear runs, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = curves.load(runs, options.only, sampled=False)
    table = panels.points(loaded, [curves.REWARD])
    with canvas.styled():
        starts = table["start"].unique()
        figure, grid = canvas.wrapped(len(starts), 3, panels.PANEL, sharey=True)
        for axes, start in zip(grid, starts, strict=True):
            here = table[table["start"] == start]
            for name, line in here.groupby("trained_on"):
                panels.draw_band(axes, line, curves.LOOKS[name])
            axes.axhline(loaded[0].mediocre_reward, **panels.STALL)
            axes.set(title=panels.title(start), xlabel="update")
        for axes in grid[::3]:
            axes.set_ylabel("expected ground truth reward")
        stalled = {"label": "reward of the mediocre output", **panels.STALL}
        canvas.legend(figure, [panels.legend(loaded, several="median, 5 to 95 %"), [stalled]])
        return canvas.save(figure, table, stem)
