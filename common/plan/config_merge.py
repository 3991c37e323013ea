"""Layers of a run's keys: each is one place of a plan, and later ones take precedence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.key_paths import Key, merged


@dataclass(frozen=True)
class Layer:
    """Keys that one place of a plan gives a run."""

    source: str
    """Name of the place in a table of a run's keys, such as ``"options"``."""
    values: Mapping[str, Any]
    """Nested objects; values by dotted path if ``replaces`` is true."""
    file: str = ""
    """File with the keys, named at the place; empty for the plan itself."""
    where: str = ""
    """Name of the place in messages; empty for the run's own configuration and later layers."""
    replaces: bool = False
    """If true, objects replace those of lower layers, as options do, instead of being merged."""

    @property
    def name(self) -> str:
        """Name of the place, with its file if any."""
        return f"{self.source}, from {self.file}" if self.file else self.source

    def gives(self, key: Key) -> bool | None:
        """Return whether the layer gives the value at ``key``; None if lower layers decide.

        The result is false if the layer replaces an object that holds the key by one without it.
        """
        if not self.replaces:
            return _leads_to(self.values, key, merges=True)
        for dotted, value in reversed(list(self.values.items())):
            path = tuple(dotted.split("."))
            if key[: len(path)] == path:
                return _leads_to(value, key[len(path) :], merges=False)
            if path[: len(key)] == key:
                return True
        return None


@dataclass(frozen=True)
class Layering:
    """Layers of a configuration's runs, which share all but the values of the sweep axes.

    A plan of many runs keeps one for all of them, and makes a run's layers where they are asked
    for.
    """

    below: tuple[Layer, ...] = ()
    """Layers below the axes, the lowest first."""
    options: frozenset[str] = frozenset()
    """Keys of axes that seeds do not set."""
    overrides: tuple[Layer, ...] = ()
    """Layers above the axes."""

    def of(self, point: Mapping[str, Any]) -> tuple[Layer, ...]:
        """Return the layers of the run whose axes assign the values of ``point``."""
        seeds = {key: value for key, value in point.items() if key not in self.options}
        options = {key: value for key, value in point.items() if key in self.options}
        return (
            *self.below,
            Layer("seeds", seeds, replaces=True),
            Layer("options", options, replaces=True),
            *self.overrides,
        )


def _leads_to(value: Any, key: Key, *, merges: bool) -> bool | None:
    for part in key:
        if isinstance(value, Mapping):
            if part not in value:
                return None if merges else False
            value = value[part]
        elif isinstance(value, list | tuple) and isinstance(part, int):
            if part >= len(value):
                return False
            value, merges = value[part], False
        else:  # the value is written in another form, of which a validator makes an object
            return True
    return True


def source_of(layers: Sequence[Layer], key: Key) -> Layer | None:
    """Return the layer that a run's value at ``key`` comes from; None for a default."""
    for layer in reversed(layers):
        gives = layer.gives(key)
        if gives is not None:
            return layer if gives else None
    return None


def laid(layers: Iterable[Layer]) -> dict[str, Any]:
    """Return the merged values of ``layers``, which must not replace objects."""
    values: dict[str, Any] = {}
    for layer in layers:
        values = merged(values, layer.values)
    return values
