"""Overrides: keys that a plan's ``set`` or the command line changes, in all stages or in one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from common.plan.document import PlanDocument
from common.registry import suggestion

_OF_ALL = ("base_config", "set")
"""Keys of a plan that hold keys of all configurations."""


@dataclass(frozen=True)
class Overrides:
    """Values by (dotted) key, which may begin with the id of a stage."""

    values: Mapping[str, Any]
    stages: frozenset[str]
    """Ids of the plan's stages, without those that are also keys of runs."""

    @classmethod
    def of(
        cls, values: Mapping[str, Any], ids: Iterable[str | None], keys: Collection[str]
    ) -> Overrides:
        """Return the overrides of a plan with stages of these ids, whose runs know these keys."""
        return cls(values, frozenset(name for name in ids if name and name not in keys))

    def for_all(self) -> dict[str, Any]:
        """Return the overrides for every configuration that knows the key."""
        return {key: value for key, value in self.values.items() if not self._stage(key)}

    def for_stage(self, stage: str | None) -> dict[str, Any]:
        """Return the overrides for this stage alone, by key of its runs."""
        return {key.partition(".")[2]: self.values[key] for key in self._of_stage(stage)}

    def sources(self, key: str, stage: str | None) -> Iterator[tuple[str, bool]]:
        """Yield the overrides that may set a key of a stage's run, and whether each is its own.

        Those of the stage come first, because they take precedence.
        """
        for name in [*self._of_stage(stage), *self.for_all()]:
            is_of_stage = self._stage(name) is not None
            laid = name.partition(".")[2] if is_of_stage else name
            is_inside = key == laid or key.startswith((f"{laid}.", f"{laid}["))
            if is_inside or laid.startswith(f"{key}."):
                yield name, is_of_stage

    def _of_stage(self, stage: str | None) -> list[str]:
        return [key for key in self.values if stage is not None and self._stage(key) == stage]

    def _stage(self, key: str) -> str | None:
        """Return the stage that the key names; None for a key of every run."""
        stage, dot, _ = key.partition(".")
        return stage if dot and stage in self.stages else None


def why_unused(key: str, known: Iterable[str], ids: Iterable[str | None]) -> str:
    """Return why an override has no effect.

    Args:
        key: the (dotted) key that it gives.
        known: keys of the plan's runs.
        ids: those of the plan's stages.
    """
    first, _, rest = key.partition(".")
    of_plan = PlanDocument.key_names()
    if rest and first in _OF_ALL:
        return (
            f"unknown key; without '{first}.' it is set for every configuration that knows it, as "
            f"in --set {rest}=..."
        )
    if first in of_plan:
        return (
            f"'{first}' is a key of the plan; give it whole, as in --set {first}=..., or beside "
            "'configurations'"
        )
    stages = sorted(name for name in ids if name)
    known_stages = f"the stages are {', '.join(stages)}" if stages else "no configuration knows it"
    close = suggestion(first, [*sorted(known), *stages, *of_plan])
    return f"unknown key{close or f'; {known_stages}'}"
