"""Rows as files hold them, each with its place, which messages about it name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

RawRow = dict[str, Any]


class PlacedRow(RawRow):
    """A row that knows where it stands in its file."""

    __slots__ = ("place",)

    def __init__(self, cells: Iterable[tuple[str, Any]], place: str) -> None:
        super().__init__(cells)
        self.place = place
        """Such as ``"line 3"``: the third of the file, blank ones counted."""


def place_of(row: Mapping[str, Any], number: int) -> str:
    """Where a row stands: in its file, or as the one with this number of its source, from 1."""
    return row.place if isinstance(row, PlacedRow) else f"row {number}"


def check_columns(names: list[str], place: str) -> None:
    """Does nothing where every column has a name of its own.

    Raises:
        ValueError: a name stands twice.
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{place}: '{name}' stands twice; keep one of them")
