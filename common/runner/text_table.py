"""Text tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_WIDEST = 60


def as_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return the rows below their headings, with aligned columns; None is shown as ``-``."""
    cells = [[_cell(value) for value in row] for row in [columns, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else str(value).replace("\n", " ")
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
