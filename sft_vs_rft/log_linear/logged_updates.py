"""Updates that have a row of metrics: close together at first, as learning curves are drawn."""

from __future__ import annotations

_PERIODS = ((10, 1), (100, 10), (1000, 50))
"""Periods of rows up to an update."""
_LAST_PERIOD = 500


def is_logged(update: int, updates: int, *, every: bool = False) -> bool:
    """Return whether an update, counted from 0, of a run of ``updates`` has a row."""
    return every or update == updates - 1 or update % _period(update) == 0


def next_logged(update: int, updates: int, *, every: bool = False) -> int:
    """Return the first update after ``update`` that has a row; ``updates`` if none has."""
    if every or update >= updates - 1:
        return update + 1
    period = _period(update + 1)
    return min(update + period - update % period, updates - 1)


def _period(update: int) -> int:
    return next((period for end, period in _PERIODS if update <= end), _LAST_PERIOD)
