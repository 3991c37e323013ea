"""Keys that belong to a library, checked against the library's own types."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import Field, Strict

from common.config.base import Config
from grue.parts.custom import derived_model

_PLAIN = (bool, int, float, str)


def keys_of(hints: Mapping[str, Any], at_least: Mapping[str, float] | None = None) -> type[Config]:
    """Return a configuration model of a library's keys, all of them optional.

    Args:
        hints: the library's types by name; types that are not simple accept every value.
        at_least: lowest values by name.
    """
    bounds = at_least or {}
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        kind = _plain(hint)
        bounded = Annotated[kind, Field(ge=bounds[name])] if name in bounds else kind
        fields[name] = (bounded, None)
    return derived_model(Config, "LibraryKeys", None, **fields)


def _plain(hint: Any) -> Any:
    """Return a type that can check values of a plan; Any for other types."""
    if hint in _PLAIN:
        return hint
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = {_plain(member) for member in inner if member is not types.NoneType}
        known = kinds - {Any}
        if len(known) != 1 or (Any in kinds and not known <= {float}):
            return Any
        (kind,) = known
        return kind | None if types.NoneType in inner else kind
    if origin is tuple and Ellipsis not in inner:
        members = tuple(_plain(member) for member in inner)
        return Annotated[tuple[members], Strict(False)]  # type: ignore[valid-type]  # known when it runs
    return Any
