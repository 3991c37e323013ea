"""Resolved keys of a plan's runs: their values, and the place of the plan that gives each."""

from __future__ import annotations

import json
from collections.abc import Iterable

from common.key_paths import Key, key_path, leaves
from common.plan.config_merge import source_of
from common.plan.run import Run
from common.runner.text_table import as_text

_Row = tuple[str, str, str]
_DEFAULT = "default"
_COLUMNS = ("key", "value", "from")


def resolved_keys(runs: Iterable[Run]) -> str:
    """Return tables of all keys of each configuration's first run, and the others' differences.

    Args:
        runs: runs in plan order.
    """
    first: dict[int, Run] = {}
    texts = []
    for run in runs:
        rows = list(_rows(run))
        begun = first.setdefault(run.configuration, run)
        head = f"{_name(run)}, {run.stage or run.where}:"
        if begun is not run:
            known = set(_rows(begun))
            rows = [row for row in rows if row not in known]
            head = f"{_name(run)}, like {_name(begun)} but for:"
        table = as_text(_COLUMNS, rows).splitlines()
        texts.append("\n".join([head, *(f"  {line}" for line in table)]))
    return "\n\n".join(texts)


def _name(run: Run) -> str:
    return f"{run.name} ({run.tag()})"


def _rows(run: Run) -> list[_Row]:
    """Return the run's keys in the order of its model; keys that the plan gives come first."""
    rows = [
        (key_path(key), json.dumps(value, ensure_ascii=False), _source(run, key))
        for key, value in leaves(run.config.model_dump(mode="json"))
    ]
    return sorted(rows, key=lambda row: row[2] == _DEFAULT)


def _source(run: Run, key: Key) -> str:
    layer = source_of(run.layers, key)
    if layer is None:
        return _DEFAULT
    is_moved = key == ("random_seed",) and run.repetition > 0
    return f"{layer.name}, repetition {run.repetition}" if is_moved else layer.name
