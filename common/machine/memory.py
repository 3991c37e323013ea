"""Memory needs of runs, as terms that add up at each moment of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Term:
    """One term of the memory in use."""

    name: str
    size: int
    """Expected bytes."""
    least: int = 0
    """Bytes that it takes at least, whatever the data are."""
    key: str = ""
    """(Dotted) configuration key that it depends on most."""
    advice: str = ""
    """Advice to lower it, such as ``lower 'batch_size'``."""


@dataclass(frozen=True)
class Moment:
    """Terms that are in memory together at a moment of a run."""

    name: str
    terms: tuple[Term, ...]

    @property
    def size(self) -> int:
        """Expected bytes."""
        return sum(term.size for term in self.terms)

    @property
    def least(self) -> int:
        """Bytes needed at least, whatever the data are."""
        return sum(term.least for term in self.terms)

    def times(self, count: int) -> Moment:
        """Return the same of ``count`` runs in one process."""
        terms = (replace(t, size=count * t.size, least=count * t.least) for t in self.terms)
        return replace(self, terms=tuple(terms))


Need = Sequence[Moment]
"""Moments at which a run may need the most memory."""


def by_counts(values: Any) -> str:
    """Return a key of a configuration's ``values`` that is equal for equal memory needs.

    Numbers that are not whole are no sizes; only whether they are zero counts.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return value != 0 if isinstance(value, float) else value

    return json.dumps(plain(values), sort_keys=True)
