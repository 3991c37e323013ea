"""Entry of a plan: one configuration, with the layers of keys of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.plan.config_merge import Layer
from common.plan.document import Configuration


@dataclass(frozen=True)
class Entry:
    """One configuration of a plan, as far as it can be read."""

    position: int
    configuration: Configuration
    """Keys of the configuration, including those that it inherits."""
    experiment: str
    """Experiment of its runs; empty if it, or the file of its base, cannot be read."""
    experiment_at: str
    """Place of the experiment: here, or in the configuration that it extends."""
    is_whole: bool
    """True if its keys have no problems."""
    below: tuple[Layer, ...] = ()
    """Layers of keys below its own: the plan's, then those of the configuration that it extends."""
    own: tuple[Layer, ...] = ()
    """Layers of keys of its own base."""
    inherited_options: Mapping[str, str] = field(default_factory=dict)
    """Places of the options that it inherits, by key."""
    fixed: frozenset[str] = frozenset()
    """Own keys, which inherited seeds do not change."""

    @property
    def where(self) -> str:
        """Place of the configuration in messages."""
        return f"configurations[{self.position}]"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers of keys of its runs without ``options`` and seeds, the lowest first."""
        return (*self.below, *self.own)
