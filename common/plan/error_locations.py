"""Sources of problems: the lower layers of a plan that hold the wrong values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from common.errors import Problem
from common.key_paths import parse_path
from common.plan.base_config_files import BASE
from common.plan.config_merge import Layer, source_of
from common.plan.entry import Entry


def at_sources(problems: Sequence[Problem], entries: Iterable[Entry]) -> list[Problem]:
    """Return the problems of configurations, placed at the layers of their values.

    A problem of a single configuration whose value comes from the plan's base names both. A problem
    of a value that an extended configuration gives is reported there alone.
    """
    by_where = {entry.where: entry for entry in entries}
    sources = [_source(problem, by_where.get(problem.where)) for problem in problems]
    told: dict[tuple[str | None, str], list[tuple[str, str]]] = defaultdict(list)
    for problem, source in zip(problems, sources, strict=True):
        told[problem.key, problem.message].append((problem.where, source))
    placed = []
    for problem, source in zip(problems, sources, strict=True):
        same = told[problem.key, problem.message]
        if source == BASE:
            tellers = {where for where, its_source in same if its_source == BASE}
            is_alone = len(tellers) == 1 < len(by_where)
            placed.append(problem.at(f"{BASE} under {problem.where}" if is_alone else BASE))
        else:
            is_told_there = any(where == source for where, _ in same)
            placed.append(problem.at(source) if is_told_there else problem)
    return placed


def _source(problem: Problem, entry: Entry | None) -> str:
    """Return the place of the lower layer with the problem's value; empty if there is none."""
    if entry is None or problem.key is None:
        return ""
    options = (
        Layer("options", {key: values}, where=entry.inherited_options.get(key, ""), replaces=True)
        for key, values in entry.configuration.options.items()
    )
    layer = source_of([*entry.layers, *options], parse_path(problem.key))
    return "" if layer is None else layer.where
