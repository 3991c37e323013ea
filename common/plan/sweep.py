"""Expansion of a configuration into its runs' values: layers of keys, options and seeds."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from common.config.run import RunConfig
from common.key_paths import Key, with_value, without
from common.plan.config_merge import Layering, laid, source_of

Axis = list[dict[str, Any]]
"""A sweep axis; each of its points assigns values to one or more keys."""


@dataclass(frozen=True)
class Draft:
    """Values of one run as the plan writes them, before templates and checks."""

    values: dict[str, Any]
    point: dict[str, Any]
    """Part of ``values`` that the axes assign."""
    layering: Layering
    """Layers that are merged to ``values``."""
    unknown: tuple[Key, ...] = ()
    """Keys of lower layers that are dropped from ``values`` because the run does not know them."""
    laid: Mapping[str, Any] = field(default_factory=dict)
    """Merged values of all layers, including the ``unknown`` keys."""


def axes(
    options: Mapping[str, Sequence[Any]],
    seeds: Sequence[int] | None,
    seed_keys: tuple[str, ...],
    overridden: Collection[str],
) -> list[Axis]:
    """Return the sweep axes, slowest first: seeds, then options in file order.

    Seed s sets all ``seed_keys`` together. A key that an override sets, directly or by its object,
    is dropped from the axes.
    """

    def _is_fixed(key: str) -> bool:
        return any(key == fixed or key.startswith(f"{fixed}.") for fixed in overridden)

    product: list[Axis] = [[dict.fromkeys(seed_keys, seed) for seed in seeds]] if seeds else []
    product += [[{key: value} for value in values] for key, values in options.items()]
    free = [
        [{key: value for key, value in point.items() if not _is_fixed(key)} for point in axis]
        for axis in product
    ]
    return [axis for axis in free if any(axis)]


@dataclass(frozen=True)
class Product:
    """Every combination of the axes over the lower layers."""

    layering: Layering
    axes: Sequence[Axis]

    @property
    def count(self) -> int:
        """Number of combinations."""
        return math.prod(map(len, self.axes))

    def drafts(self) -> Iterator[Draft]:
        """Yield the combinations; the last axis varies fastest.

        Keys of axes and of overrides, which take precedence, may be dotted paths into nested
        objects.
        """
        base = laid(self.layering.below)
        for combination in itertools.product(*self.axes):
            point = {key: value for part in combination for key, value in part.items()}
            values = base
            for assigned in (point, *(layer.values for layer in self.layering.overrides)):
                for key, value in assigned.items():
                    values = with_value(values, key, value)
            yield Draft(values, point, self.layering)


def without_unknown(draft: Draft, unknown: Sequence[Key]) -> Draft:
    """Return ``draft`` without those of its ``unknown`` keys that only lower layers give.

    Lower layers are those of the plan and of an extended configuration, which name their place.
    """
    layers = draft.layering.of(draft.point) if unknown else ()
    sources = ((key, source_of(layers, key)) for key in unknown)
    left_out = tuple(key for key, layer in sources if layer is not None and layer.where)
    if not left_out:
        return draft
    known = without(draft.values, left_out)
    return replace(draft, values=known, unknown=left_out, laid=draft.values)


def template_values(model: type[RunConfig], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a run's templates may use: written keys, and defaults of the others.

    A seed that is not given is -1, as published plans write it.
    """
    known = {**_defaults(model), **values}
    for name, default in _dependent(model):
        if name not in values:
            with suppress(Exception):  # the values are unchecked, and the check tells what is wrong
                known[name] = default(known)
    return known | {key: -1 for key in model.seed_keys if known[key] is None}


@functools.cache
def _defaults(model: type[RunConfig]) -> Mapping[str, Any]:
    dependent = dict(_dependent(model))
    return {
        name: key.get_default(call_default_factory=True)
        for name, key in model.model_fields.items()
        if name not in dependent
    }


@functools.cache
def _dependent(model: type[RunConfig]) -> list[tuple[str, Callable[..., Any]]]:
    """Return the functions of defaults that depend on other keys, by key.

    Pydantic would inspect each function's signature again for every run.
    """
    return [
        (name, key.default_factory)
        for name, key in model.model_fields.items()
        if key.default_factory is not None and key.default_factory_takes_validated_data
    ]


def repeated(values: Mapping[str, Any], repetition: int) -> Mapping[str, Any]:
    """Return the values of repetition k: a given ``random_seed`` is increased by k."""
    seed = values.get("random_seed")
    if repetition and isinstance(seed, int) and seed >= 0:
        return {**values, "random_seed": seed + repetition}
    return values
