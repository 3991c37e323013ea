"""Pairs of an output and its references, and what scores them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Pair = tuple[str, tuple[str, ...]]
"""An output, and its references."""


Row = Sequence[float]
"""The numbers that one pair gives."""


Scorer = Callable[[str, Sequence[str]], Row]


class MakesScorer(Protocol):
    """A metric's class, as a worker process needs it."""

    def __init__(self, args: Any) -> None: ...

    def make_scorer(self) -> Scorer:
        """Return what scores a pair."""
