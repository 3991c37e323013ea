"""Unchecked rows with their places in a file, for messages; `rows` checks their columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

RawRow = dict[str, Any]


class PlacedRow(RawRow):
    """A row with its place in its file."""

    __slots__ = ("place",)

    def __init__(self, cells: Iterable[tuple[str, Any]], place: str) -> None:
        super().__init__(cells)
        self.place = place
        """Place such as ``"line 3"``: the third line of the file, blank ones counted."""


def place_of(row: Mapping[str, Any], number: int) -> str:
    """Return the place of a row: in its file, or its number in its source, from 1."""
    return row.place if isinstance(row, PlacedRow) else f"row {number}"


def check_columns(names: list[str], place: str) -> None:
    """Check that every column has a name of its own.

    Raises:
        ValueError: two columns have the same name.
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{place}: '{name}' is repeated; keep one of them")
