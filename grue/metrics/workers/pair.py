"""Pairs of an output and its references, and their scorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Pair = tuple[str, tuple[str, ...]]
"""An output, and its references."""


Row = Sequence[float]
"""Numbers of one pair."""


Scorer = Callable[[str, Sequence[str]], Row]


class MakesScorer(Protocol):
    """Scorer factory: the part of a metric's class that a worker process needs."""

    def __init__(self, args: Any) -> None: ...

    def make_scorer(self) -> Scorer:
        """Return the scorer of pairs."""
