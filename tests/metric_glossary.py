"""The tables of ``docs/metrics.md``: which names stand under which heading."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.conftest import PROJECT

PAGE = PROJECT / "docs/metrics.md"
METRICS = "Evaluation metrics"
"""The heading above the tables of evaluation metrics."""

_FORMS = {"a whole number": r"\d+", "a Python name": r"[A-Za-z_]\w*", "a word": r"\w+"}
"""Placeholders that stand for words of a form, by how the page says it."""
_CODE = re.compile("`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    chapter: str
    """The heading of the second level above it."""
    heading: str
    """The nearest heading above it."""
    columns: tuple[str, ...]
    cells: tuple[str, ...]

    def codes(self, column: str) -> list[str]:
        """What stands between backticks in a column; nothing where the table lacks it."""
        if column not in self.columns:
            return []
        return _CODE.findall(self.cells[self.columns.index(column)])


@functools.cache
def rows() -> tuple[Row, ...]:
    """Return the rows of all tables."""
    return tuple(_rows(PAGE.read_text(encoding="utf-8").splitlines()))


def _rows(lines: list[str]) -> Iterator[Row]:
    chapter = heading = ""
    columns: tuple[str, ...] = ()
    for line in lines:
        if line.startswith("## "):
            chapter = line.removeprefix("## ")
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            columns = ()
            continue
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if not columns:
            columns = cells
        elif set(cells[0]) != {"-"}:
            assert len(cells) == len(columns), line
            yield Row(chapter, heading, columns, cells)


def names(heading: str) -> list[str]:
    """Return the names under a heading, also those under headings of a chapter."""
    found = [
        name
        for row in rows()
        if heading in (row.heading, row.chapter)
        for name in row.codes("Name")
    ]
    assert found, f"no names under '{heading}'"
    return found


def pattern(name: str) -> re.Pattern[str]:
    """Return what a name stands for, its placeholders filled in."""
    return re.compile(_expression(name))


def _expression(name: str) -> str:
    parts = re.split(r"(<\w+>)", name)
    return "".join(_filled(part) if part.startswith("<") else re.escape(part) for part in parts)


def _filled(placeholder: str) -> str:
    """Return the words that a placeholder stands for, as a regular expression."""
    if placeholder == "<metric>":
        return _one_of([_expression(name) for name in names(METRICS)])
    (row,) = (row for row in rows() if row.codes("Placeholder") == [placeholder])
    words = row.codes("stands for")
    return _one_of(map(re.escape, words)) if words else _FORMS[row.cells[1]]


def _one_of(expressions: Iterator[str] | list[str] | map[str]) -> str:
    return f"(?:{'|'.join(expressions)})"
