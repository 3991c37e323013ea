"""Duplicate keys of one object: ``"a.b"`` beside ``"a": {"b": ...}``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from common.errors import Problem

Path = tuple[str, ...]


def twins_in_plan(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems of duplicate keys in a plan's ``set`` or in a configuration."""
    yield from twins_in_set(values.get("set"))
    yield from (problem.at("base_config") for problem in twins_in_keys(values.get("base_config")))
    entries = values.get("configurations")
    for position, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, Mapping):
            base, options = entry.get("base_config"), entry.get("options")
            found = [*twins_in_keys(base), *_covered(_lists(options), "options.")]
            yield from (problem.at(f"configurations[{position}]") for problem in found)


def twins_in_set(values: Any) -> Iterator[Problem]:
    """Yield the problems of duplicates among keys that replace each other in order."""
    if isinstance(values, Mapping):
        yield from _covered([(key, [value]) for key, value in values.items()])


def twins_in_keys(values: Any) -> Iterator[Problem]:
    """Yield the problems of duplicates in an object whose dotted and nested keys are merged."""
    seen: dict[Path, str] = {}
    for key in values if isinstance(values, Mapping) else ():
        for path in _leaves(key, values[key]):
            other = next((seen[path[:n]] for n in range(len(path) + 1) if path[:n] in seen), None)
            other = other or next((seen[p] for p in seen if p[: len(path)] == path), None)
            if other is not None:
                yield _problem(".".join(path), other, key)
            seen[path] = key


def _covered(entries: Sequence[tuple[str, Sequence[Any]]], where: str = "") -> Iterator[Problem]:
    """Yield the problems of keys that are lost in, or changed by, a later key with their object."""
    for outer_position, (outer, values) in enumerate(entries):
        for position, (inner, _) in enumerate(entries):
            if not inner.startswith(f"{outer}."):
                continue
            rest = inner.removeprefix(f"{outer}.").split(".")
            if position < outer_position or any(_holds(value, rest) for value in values):
                yield _problem(f"{where}{inner}", outer, inner)


def _lists(options: Any) -> list[tuple[str, Sequence[Any]]]:
    items = options.items() if isinstance(options, Mapping) else ()
    return [(key, values) for key, values in items if isinstance(values, list)]


def _leaves(key: str, value: Any) -> Iterator[Path]:
    """Yield the paths of the single values at a dotted key."""
    path = tuple(key.split("."))
    if not isinstance(value, Mapping):
        yield path
        return
    for name, inner in value.items():
        yield from ((*path, *rest) for rest in _leaves(name, inner))


def _holds(value: Any, path: Iterable[str]) -> bool:
    """Return whether there is a value at the path, or on the way to it."""
    for name in path:
        if not isinstance(value, Mapping):
            return True
        if name not in value:
            return False
        value = value[name]
    return True


def _problem(key: str, first: str, second: str) -> Problem:
    places = f"by '{first}' and by '{second}'" if first != second else f"inside '{first}'"
    return Problem(f"is given twice, {places}; keep one of them", key)
