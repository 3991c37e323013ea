"""Probabilities of the best and of the mediocre output in exact log-linear runs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from plots.log_linear import curves, panels
from plots.options import FigureOptions

_WIDTHS = {curves.BEST: 1.8, curves.MEDIOCRE: 0.8}


class Options(FigureOptions):
    """Options of the figure of probabilities."""

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
    table = panels.points(loaded, [*_WIDTHS])
    with canvas.styled():
        starts = table["start"].unique()
        figure, grid = canvas.wrapped(len(starts), 3, panels.PANEL, sharey=True)
        for axes, start in zip(grid, starts, strict=True):
            here = table[table["start"] == start]
            for (name, quantity), line in here.groupby(["trained_on", "quantity"]):
                look = {**curves.LOOKS[name], "linewidth": _WIDTHS[quantity]}
                panels.draw_band(axes, line, look)
            axes.set(title=panels.title(start), xlabel="update", yscale="log")
        for axes in grid[::3]:
            axes.set_ylabel("probability")
        outputs = [{"label": name, "color": "dimgray", "linewidth": width}
                   for name, width in _WIDTHS.items()]  # fmt: skip
        canvas.legend(figure, [panels.legend(loaded), outputs])
        return canvas.save(figure, table, stem)
