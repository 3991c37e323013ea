"""From a plan's configuration to the values of its runs: base, options, seeds, overrides."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.config.run import RunConfig
from common.key_paths import with_value

Axis = list[dict[str, Any]]
"""The points of one direction of a product; each assigns values to one or more keys."""


@dataclass(frozen=True)
class Draft:
    """The values of one run as the plan writes them, before templates and checks."""

    values: dict[str, Any]
    point: dict[str, Any]
    """The part of ``values`` that the axes assign."""


def axes(
    options: Mapping[str, Sequence[Any]],
    seeds: Sequence[int] | None,
    seed_keys: tuple[str, ...],
    overridden: Mapping[str, Any],
) -> list[Axis]:
    """The directions of the product, slowest first: seeds, then options in file order.

    Seed s moves all ``seed_keys`` together. A key that an override fixes, itself or with the object
    it stands in, leaves the product.
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


def drafts(
    base: Mapping[str, Any], product: list[Axis], overrides: Mapping[str, Any]
) -> Iterator[Draft]:
    """Every combination of the axes laid over ``base``, the last axis fastest.

    Keys may be dotted paths into nested objects.
    """
    for combination in itertools.product(*product):
        point = {key: value for part in combination for key, value in part.items()}
        values = dict(base)
        for key, value in (point | dict(overrides)).items():
            values = with_value(values, key, value)
        yield Draft(values, point)


def template_values(model: type[RunConfig], values: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's templates may name: its keys as the plan writes them, defaults for the others.

    A seed that is not given is -1, the published way to write it, whether the plan does so or not.
    """
    known = {**_defaults(model), **values}
    for name, default in _dependent(model):
        if name not in values:
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
    """The keys whose defaults depend on other keys, with what makes these of the others' values.

    Pydantic would look at each function's signature again for every run.
    """
    return [
        (name, key.default_factory)
        for name, key in model.model_fields.items()
        if key.default_factory is not None and key.default_factory_takes_validated_data
    ]


def repeated(values: Mapping[str, Any], repetition: int) -> Mapping[str, Any]:
    """The values of repetition k: a given ``random_seed`` moves on by k."""
    seed = values.get("random_seed")
    if repetition and isinstance(seed, int) and seed >= 0:
        return {**values, "random_seed": seed + repetition}
    return values
