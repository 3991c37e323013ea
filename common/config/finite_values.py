"""Numbers of a plan that no JSON file can hold: infinities and NaN."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from common.errors import Problem
from common.key_paths import Key, key_path


def not_finite(values: Any, told: Collection[str | None]) -> Iterator[Problem]:
    """Yield the problems of infinities and NaN in ``values``, except at the paths ``told``."""
    for key, number in _leaves(values, ()):
        path = key_path(key)
        if isinstance(number, float) and not math.isfinite(number) and path not in told:
            yield Problem("expected a finite number", path, number)


def _leaves(value: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, (*key, name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _leaves(item, (*key, position))
    else:
        yield key, value
