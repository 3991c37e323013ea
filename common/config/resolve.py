"""Values of a plan resolved to a configuration, or to the problems that prevent it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import (
    ValidationError,
)
from pydantic_core import ErrorDetails

from common.config.base import Config
from common.config.validation_messages import Form, misfits
from common.errors import Problem
from common.key_paths import Key, without

_NOT_ASKED = "default_factory_not_called"
"""Type of pydantic's error for a default that waits for other, erroneous keys."""


ConfigT = TypeVar("ConfigT", bound=Config)


PlaceOf = Callable[[str], str | None]
"""Function that returns the place where a key that a model does not know belongs, for example
``"beside 'args'"``; None if it is unknown there too."""

_OF_KEYS = ("missing", "extra_forbidden")
"""Types of errors about keys, not about values."""


def resolve(
    model: type[ConfigT], values: Mapping[str, Any], place_of: PlaceOf = lambda key: None
) -> tuple[ConfigT | None, list[Problem]]:
    """Return the configuration that ``values`` describe, or None with all problems."""
    config, problems = resolve_valid_keys(model, values, place_of)
    if config is not None and not problems:
        problems = list(config.problems())
    return (None if problems else config), problems


def resolve_valid_keys(
    model: type[ConfigT], values: Mapping[str, Any], place_of: PlaceOf = lambda key: None
) -> tuple[ConfigT | None, list[Problem]]:
    """Return the configuration of all valid keys in ``values``, and the problems of the others.

    Keys are validated one by one. The configuration is None if a required key is missing.
    ``place_of`` is asked about unknown keys alone.
    """
    problems: list[Problem] = []
    while True:
        try:
            return model.model_validate(values), problems
        except ValidationError as error:
            found = [details for details in error.errors() if details["type"] != _NOT_ASKED]
            wrong = _innermost(_by_place(found, values))
        problems = problems or misfits(wrong, Form(model, values, place_of))
        sound = without(values, wrong)
        if sound == values:
            return None, problems
        values = sound  # a list may now have too few entries, so it is looked at again


def unknown_keys(model: type[Config], values: Mapping[str, Any]) -> list[Key]:
    """Return the paths of those keys in ``values`` that ``model`` does not know."""
    unknown: list[Key] = []
    try:
        config = model.model_validate(values)
    except ValidationError as error:
        unknown = [
            _place(details, values)
            for details in error.errors()
            if details["type"] == "extra_forbidden"
        ]
        found, _ = resolve_valid_keys(model, values)
        if found is None:
            return unknown
        config = found
    return [*unknown, *config.unknown_in_parts()]


def _by_place(errors: Sequence[ErrorDetails], values: Any) -> dict[Key, list[ErrorDetails]]:
    """Return the errors by the place of their values.

    A place has one error for each possible member of a union.
    """
    found: dict[Key, list[ErrorDetails]] = {}
    for details in errors:
        found.setdefault(_place(details, values), []).append(details)
    return found


def _place(details: ErrorDetails, values: Any) -> Key:
    """Return the path of an error's value: its ``loc`` without the tags of unions."""
    key: list[str | int] = []
    way = details["loc"]
    for part in way[:-1]:
        if _leads_into(part, values):
            key.append(part)
            values = values[part]
    is_key = details["type"] in _OF_KEYS or _leads_into(way[-1], values)
    return (*key, way[-1]) if is_key else tuple(key)


def _leads_into(part: str | int, values: Any) -> bool:
    """Return whether ``part`` is a key or position in ``values``, not the tag of a union."""
    return part in values if isinstance(values, Mapping) else isinstance(part, int)


def _innermost(wrong: Mapping[Key, list[ErrorDetails]]) -> dict[Key, list[ErrorDetails]]:
    """Return the errors without those of lists whose entries have their own."""
    outer = {place[:length] for place in wrong for length in range(len(place))}
    return {place: found for place, found in wrong.items() if place not in outer}
