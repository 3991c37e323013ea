"""Tables as text, with the headers that belong to each cell (Parikh et al., 2020).

One blank follows every tag but the last. Headers are guessed as published: the row headers of a
cell are the header cells left of it; its column headers are the header cells above it that share a
column with it. Cells may span columns; spans over rows are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict


class Cell(TypedDict):
    """A cell's text and span, and whether it is a header."""

    value: str
    is_header: bool
    column_span: int
    row_span: int


Table = Sequence[Sequence[Cell]]
Place = tuple[int, int]
"""Row of a cell, and its position in the row."""


@dataclass(frozen=True)
class _Header:
    """A header cell, which covers the columns from ``start`` up to ``end``."""

    row: int
    start: int
    end: int
    value: str


class TableText:
    """Text form of the cells of one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._starts = [_starts(row) for row in table]
        self._headers = [
            _Header(r, start, start + cell["column_span"], cell["value"])
            for r, row in enumerate(table)
            for start, cell in zip(self._starts[r], row, strict=True)
            if cell["is_header"]
        ]

    def subtable(self, highlighted: Iterable[Place]) -> str:
        """Return the highlighted cells, in the given order."""
        cells = "".join(self._cell(place, "cell") for place in highlighted)
        return f"<table> {cells}</table>"

    def full_table(self, highlighted: Iterable[Place]) -> str:
        """Return all cells, row by row; the highlighted ones have a tag of their own."""
        marked = set(highlighted)
        rows = "".join(
            "<row> "
            + "".join(
                self._cell((r, c), "highlighted_cell" if (r, c) in marked else "cell")
                for c in range(len(row))
            )
            + "</row> "
            for r, row in enumerate(self.table)
        )
        return f"<table> {rows}</table>"

    def _cell(self, place: Place, tag: str) -> str:
        r, c = place
        columns = "".join(_tagged("col_header", value) for value in self._above(r, c))
        rows = "".join(
            _tagged("row_header", cell["value"]) for cell in self.table[r][:c] if cell["is_header"]
        )
        return f"<{tag}> {self.table[r][c]['value']} {columns}{rows}</{tag}> "

    def _above(self, r: int, c: int) -> Iterable[str]:
        """Yield the values of the column headers of a cell, top to bottom."""
        start = self._starts[r][c]
        end = start + self.table[r][c]["column_span"]
        for header in self._headers:
            if header.row >= r:
                return
            if header.start < end and start < header.end:
                yield header.value


def titles(page: str, section: str) -> str:
    """Return the text before a table: its titles; empty ones are dropped."""
    tags = (("page_title", page), ("section_title", section))
    return "".join(_tagged(tag, text) for tag, text in tags if text)


def _tagged(tag: str, text: str) -> str:
    return f"<{tag}> {text} </{tag}> "


def _starts(row: Sequence[Cell]) -> list[int]:
    """Return the first column that each cell covers."""
    starts, column = [], 0
    for cell in row:
        starts.append(column)
        column += cell["column_span"]
    return starts
