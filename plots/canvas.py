"""Canvas of figures: style sheet, panels, legend, and `save`."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from common.errors import UserError
from common.run.folder import replacing, write_table
from plots.lines import LEAST_WIDTH

STYLE = Path(__file__).with_name("style.mplstyle")
_LETTERS_PER_INCH = 11
"""Number of letters of a caption that are as wide as an inch."""
_UNBREAKABLE = "\u00a0"
_TITLE_WIDTH = 52  # letters; longer lines would push the second column of panels aside


@contextmanager
def styled() -> Iterator[None]:
    """Use the project's style for figures made and saved in the block, whatever the user's own."""
    with matplotlib.style.context(STYLE, after_reset=True):
        yield


def panels(
    titles: Sequence[str], columns: int, panel: tuple[float, float], *, lines: int = 1
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with one row of panels (width and height in inches) per title, and its axes.

    A title that is not empty is above its row and above the panels' own titles, which may have as
    many ``lines``.
    """
    width, height = panel
    wrapped = [textwrap.fill(title, _TITLE_WIDTH) for title in titles]
    num_lines = sum(text.count("\n") + 1 for text in wrapped if text)
    size = (max(columns * width, LEAST_WIDTH), len(titles) * height + 0.2 * num_lines + 1.0)
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(titles), columns, squeeze=False, sharex=True, sharey="col").tolist()
    for row, text in zip(grid, wrapped, strict=True):
        if text:
            above = text + "\n" * lines
            row[0].set_title(above, loc="left", fontweight="bold", parse_math=False)
    return figure, grid


def wrapped(
    count: int, columns: int, panel: tuple[float, float], *, lines: int = 2, **sharing: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels (width and height in inches), and their axes.

    Rows hold at most as many ``columns``, and the legend has as many ``lines``. ``sharing`` goes to
    `Figure.subplots`; every lowest panel of a column has the ticks of its horizontal axis.
    """
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    width = max(columns * panel[0], LEAST_WIDTH)
    figure = Figure(figsize=(width, rows * panel[1] + 0.2 * lines + 0.6))
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, **sharing)
    for axes in grid.flat[count:]:
        axes.remove()
    for axes in grid.flat[max(count - columns, 0) : count]:
        axes.tick_params(labelbottom=True)
    return figure, list(grid.flat[:count])


def legend(
    figure: Figure, columns: Sequence[Sequence[Mapping[str, Any]]], *, caption: str | None = None
) -> None:
    """Draw one legend for all panels, below them, where it covers no data.

    Each entry of a column holds the properties of a line, its ``label`` among them. Lines of the
    caption that are longer than the figure is wide are broken, after commas if that is enough.
    """
    if caption is not None:
        letters = int(figure.get_figwidth() * _LETTERS_PER_INCH)
        caption = "\n".join(_broken(line, letters) for line in caption.split("\n"))
    longest = max(len(column) for column in columns)
    blank = {"label": "", "linestyle": "none"}
    entries = [entry for column in columns for entry in [*column, *[blank] * longest][:longest]]
    handles = [Line2D([], [], **entry) for entry in entries]
    drawn = figure.legend(
        handles=handles, loc="outside lower center", ncols=len(columns), title=caption
    )
    drawn.get_title().set_parse_math(False)  # it may name lines


def _broken(line: str, letters: int) -> str:
    """Return the line in as few lines of at most ``letters`` as words need, and of like length.

    It is broken after commas and semicolons where that takes no more lines: ``n = 250 inputs``
    stays together.
    """
    by_words = textwrap.wrap(line, letters)
    whole = re.sub(r"(?<![,;:]) ", _UNBREAKABLE, line)
    for width in range(1, letters + 1):
        found = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
        if len(found) <= len(by_words) and max(map(len, found), default=0) <= width:
            return "\n".join(found).replace(_UNBREAKABLE, " ")
    return "\n".join(by_words)


def save(figure: Figure, points: pd.DataFrame, stem: Path) -> list[Path]:
    """Write the figure as PNG and PDF and ``points`` as CSV, each completely or not at all.

    The bytes depend only on the drawing, because no date is written. The written paths are
    returned.

    Raises:
        UserError: the folder cannot be created or written to.
    """
    picture, document, table = (
        stem.with_name(f"{stem.name}.{suffix}") for suffix in ("png", "pdf", "csv")
    )
    try:
        with replacing(picture) as file:
            figure.savefig(file, format="png", metadata={"Software": None})
        with replacing(document) as file:
            figure.savefig(file, format="pdf", metadata={"CreationDate": None})
        write_table(table, points)
    except OSError as error:
        raise UserError(f"{stem.parent}: the figure cannot be written: {error}") from error
    return [picture, document, table]
