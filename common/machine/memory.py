"""Whether a plan's runs fit into the memory of the GPUs that they will use, before they start."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Term:
    """One thing in memory."""

    name: str
    size: int
    """Bytes that it is expected to take."""
    least: int = 0
    """Bytes that it takes whatever the data are."""
    key: str = ""
    """The (dotted) configuration key that it depends on most."""
    advice: str = ""
    """What to do about it, such as ``lower 'batch_size'``."""


@dataclass(frozen=True)
class Moment:
    """What is in memory together at a moment of a run."""

    name: str
    terms: tuple[Term, ...]

    @property
    def size(self) -> int:
        """Bytes expected."""
        return sum(term.size for term in self.terms)

    @property
    def least(self) -> int:
        """Bytes needed whatever the data are."""
        return sum(term.least for term in self.terms)

    def times(self, count: int) -> Moment:
        """The same of ``count`` runs in one process."""
        terms = (replace(t, size=count * t.size, least=count * t.least) for t in self.terms)
        return replace(self, terms=tuple(terms))


Need = Sequence[Moment]
"""The moments at which a run may need the most memory."""


def by_counts(values: Any) -> str:
    """A key of a configuration's ``values``, equal for those that need equal memory.

    Of numbers that are not whole only whether they are zero counts: they are no sizes.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return value != 0 if isinstance(value, float) else value

    return json.dumps(plain(values), sort_keys=True)
