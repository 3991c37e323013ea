"""Dotted paths of values in nested objects and lists."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

Key = tuple[str | int, ...]
"""Path of a value: names in objects, positions in lists."""


def key_path(key: Key) -> str:
    """Return a path in the form ``a.b[0]``."""
    path = ""
    for part in key:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def parse_path(path: str) -> Key:
    """Return the path that `key_path` writes as ``path``."""
    parts = re.findall(r"\[(\d+)\]|([^.\[\]]+)", path)
    return tuple(int(position) if position else name for position, name in parts)


def leaves(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield the values in nested objects, with their paths; lists of objects are entered too."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from leaves(item, (*key, name))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for position, item in enumerate(value):
            yield from leaves(item, (*key, position))
    else:
        yield key, value


def assign(values: Any, key: Key, value: Any) -> None:
    """Set the value at ``key`` in ``values``."""
    for part in key[:-1]:
        values = values[part]
    values[key[-1]] = value


def value_at(values: Any, key: str, default: Any = None) -> Any:
    """Return the value at the dotted path ``key`` in ``values``; ``default`` if there is none."""
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return default
        values = values[part]
    return values


def with_value(values: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy of ``values`` with ``value`` at the dotted path ``key``."""
    first, _, rest = key.partition(".")
    if not rest:
        return {**values, first: value}
    inner = values.get(first)
    return {**values, first: with_value(inner if isinstance(inner, dict) else {}, rest, value)}


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``values`` with ``changes``: objects merged, everything else replaced.

    Keys of ``changes`` may be dotted paths.
    """
    found = dict(values)
    for key, value in changes.items():
        first, _, rest = key.partition(".")
        change = {rest: value} if rest else value
        if isinstance(change, dict):
            inner = found.get(first)
            change = merged(inner if isinstance(inner, dict) else {}, change)
        found[first] = change
    return found


def without(value: Any, keys: Collection[Key]) -> Any:
    """Return a copy of ``value`` without the values at ``keys``.

    A path that is longer than the nesting removes the last value on it.
    """
    if isinstance(value, dict):
        return dict(_kept(value.items(), keys))
    return [item for _, item in _kept(enumerate(value), keys)]


def _kept(items: Iterable[tuple[Any, Any]], keys: Collection[Key]) -> Iterator[tuple[Any, Any]]:
    for name, item in items:
        inside = [key[1:] for key in keys if key[:1] == (name,)]
        if not inside:
            yield name, item
        elif all(_leads_into(key, item) for key in inside):
            yield name, without(item, inside)


def _leads_into(key: Key, item: Any) -> bool:
    if not key or not isinstance(item, dict | list):
        return False
    return key[0] in (item if isinstance(item, dict) else range(len(item)))
