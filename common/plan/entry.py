"""A configuration of a plan, with the layers of keys that its runs are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.plan.document import Configuration
from common.plan.layers import Layer


@dataclass(frozen=True)
class Entry:
    """One configuration of a plan, as far as it can be read."""

    position: int
    configuration: Configuration
    """Its keys, with those of what it extends."""
    experiment: str
    """What its runs are; empty where that, or the file its keys begin with, cannot be read."""
    experiment_at: str
    """Where that is said: here, or in what it extends."""
    is_whole: bool
    """Whether nothing is wrong with its keys."""
    below: tuple[Layer, ...] = ()
    """The keys of runs that lie under its own: the plan's, then those of what it extends."""
    own: tuple[Layer, ...] = ()
    """The keys of runs in its own base."""
    inherited_options: Mapping[str, str] = field(default_factory=dict)
    """Where those of its options stand that it does not say itself, by key."""
    fixed: frozenset[str] = frozenset()
    """Its own keys, which the seeds of what it extends do not move."""

    @property
    def where(self) -> str:
        """Where it stands, as messages name it."""
        return f"configurations[{self.position}]"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All keys of runs beside ``options`` and seeds, the lowest first."""
        return (*self.below, *self.own)
