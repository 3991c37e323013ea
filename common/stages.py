"""References between the stages of a plan: ``"@<id>.<file>"`` finds the one run that is meant."""

from __future__ import annotations

import graphlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from common.errors import Problem
from common.experiment import Reference
from common.registry import suggestion

if TYPE_CHECKING:
    from common.plan import Run

_REFERENCE = re.compile(r"@(?P<stage>[\w-]+)\.(?P<file>\w+)")
_MOST_CANDIDATES = 6

Key = tuple[str | int, ...]
"""The path to a value in nested objects and lists."""


class Stages:
    """Links runs to those whose files they read."""

    def __init__(self, ids: Sequence[str | None], runs: Sequence[Run]) -> None:
        self.ids = [stage for stage in ids if stage]
        self.runs = runs
        self.members: dict[str, list[Run]] = defaultdict(list)
        for run in runs:
            if run.stage:
                self.members[run.stage].append(run)
        self._matches: dict[Any, dict[Any, list[Run]]] = {}

    def link(self) -> list[Problem]:
        """Sets the references of every run; gives what does not fit exactly one run."""
        problems = [
            Problem("two configurations have this id; rename one", "id", stage)
            for stage in sorted({stage for stage in self.ids if self.ids.count(stage) > 1})
        ]
        for run in self.runs:
            for place, text in _strings(run.written):
                match = _REFERENCE.fullmatch(text)
                if match:
                    problem = self._add_reference(run, place, match["stage"], match["file"])
                    problems += [problem] if problem else []
        return problems or self._cycles()

    def _add_reference(self, run: Run, key: Key, stage: str, file: str) -> Problem | None:
        name, value = ".".join(map(str, key)), f"@{stage}.{file}"
        if stage not in self.members:
            known = sorted(self.members)
            hint = suggestion(stage, known) or f"; known: {', '.join(known) or 'none'}"
            return Problem(f"no configuration has the id '{stage}'{hint}", name, value, run.where)
        files = self.members[stage][0].spec.files
        if file not in files:
            names = ", ".join(sorted(files)) or "none"
            return Problem(
                f"'{stage}' leaves no file '{file}'; known: {names}", name, value, run.where
            )
        candidates = self._candidates(run, stage)
        if len(candidates) != 1:
            return Problem(
                _not_one(run, stage, candidates, self.members[stage]), name, value, run.where
            )
        run.references.append(Reference(key, file, files[file], candidates[0]))
        return None

    def _candidates(self, run: Run, stage: str) -> list[Run]:
        """The stage's runs that agree with ``run`` on all its axes which ``run`` also sets."""
        shared = tuple(key for key in self.members[stage][0].point if key in run.written)
        if (stage, shared) not in self._matches:
            groups = self._matches[stage, shared] = defaultdict(list)
            for member in self.members[stage]:
                groups[_agreement(member, shared)].append(member)
        return self._matches[stage, shared].get(_agreement(run, shared), [])

    def _cycles(self) -> list[Problem]:
        graph: dict[str, set[str]] = defaultdict(set)
        for run in self.runs:
            if run.stage:
                graph[run.stage] |= {reference.run.stage for reference in run.references}
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            ring = " -> ".join(error.args[1])
            return [Problem(f"the stages wait for each other: {ring}; break the ring")]
        return []

    @staticmethod
    def in_order(runs: Sequence[Run]) -> Iterator[Run]:
        """The runs, each after those that it refers to."""
        graph = {run: {reference.run for reference in run.references} for run in runs}
        yield from graphlib.TopologicalSorter(graph).static_order()


def _agreement(run: Run, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return (run.repetition, *(_hashable(run.written[key]) for key in keys))


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_hashable(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _hashable(value[key])) for key in sorted(value))
    return value


def _strings(value: Any, key: Key = ()) -> Iterator[tuple[Key, str]]:
    """Every string in a nested value, with the path that leads to it."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _strings(item, (*key, name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _strings(item, (*key, position))


def _not_one(run: Run, stage: str, candidates: list[Run], members: list[Run]) -> str:
    """Why a reference does not mean exactly one run, with the candidates."""
    shown = ", ".join(
        f"{member.name} ({', '.join(f'{k}={v}' for k, v in member.point.items()) or 'no options'})"
        for member in (candidates or members)[:_MOST_CANDIDATES]
    )
    more = ", ..." if len(candidates or members) > _MOST_CANDIDATES else ""
    own = {key: run.written[key] for key in members[0].point if key in run.written}
    if candidates:
        missing = [key for key in members[0].point if key not in run.written]
        return (
            f"fits {len(candidates)} runs of '{stage}': {shown}{more}; set "
            f"{' or '.join(repr(key) for key in missing)} here too, to choose one"
        )
    return f"fits no run of '{stage}' with {own}; its runs: {shown}{more}"
