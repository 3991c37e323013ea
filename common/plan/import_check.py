"""Check of users' own parts: those that a configuration names and that cannot be imported."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from common.custom.user_code import CUSTOM
from common.errors import Problem, UserError
from common.key_paths import Key, key_path
from common.registry import import_part

_NAMES = "id"
"""Key of a part's name, at any depth."""


def unimportable(values: Mapping[str, Any], told: Collection[str | None]) -> Iterator[Problem]:
    """Yield the problems of parts in ``values`` that cannot be imported.

    Those at the keys ``told`` are skipped.
    """
    for key, name in _parts(values, ()):
        path = key_path(key)
        if path in told:
            continue
        try:
            import_part(name.removeprefix(CUSTOM))
        except UserError as error:
            yield Problem(str(error), path, name)


def _parts(value: Any, key: Key) -> Iterator[tuple[Key, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _parts(item, (*key, name))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _parts(item, (*key, position))
    elif isinstance(value, str) and value.startswith(CUSTOM) and key[-1:] == (_NAMES,):
        yield key, value
