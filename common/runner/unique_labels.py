"""Keys that distinguish the rows of a table with equal names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any


def distinguishing(names: Sequence[Hashable], values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys in which rows of an equal name differ, in their order.

    Of several keys with the same values in every row, such as seeds, the first one is enough.

    Args:
        names: name of each row.
        values: values of each row, by key.
    """
    alike: dict[Hashable, list[Mapping[str, Any]]] = defaultdict(list)
    for name, row in zip(names, values, strict=True):
        alike[name].append(row)
    keys = dict.fromkeys(key for row in values for key in row)
    differing = [key for key in keys if any(_differ(key, rows) for rows in alike.values())]
    columns = [[row.get(key) for row in values] for key in differing]
    return [key for place, key in enumerate(differing) if columns[place] not in columns[:place]]


def _differ(key: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row.get(key) != rows[0].get(key) for row in rows)
