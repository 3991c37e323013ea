"""References between stages: ``"@<id>.<file>"`` finds the single run that it refers to."""

from __future__ import annotations

import contextlib
import graphlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.custom.hooks import asking
from common.errors import Problem
from common.experiment import Reference
from common.key_paths import Key, key_path, value_at
from common.registry import suggestion

if TYPE_CHECKING:
    from common.plan.run import Run

_REFERENCE = re.compile(r"@(?P<stage>[\w-]+)\.(?P<file>\w+)")
_MOST_CANDIDATES = 6
_NOWHERE = object()


@dataclass
class Stage:
    """Runs of one configuration of a plan."""

    id: str | None
    files: Mapping[str, str] | None = None
    """Files of its runs, see `Experiment.files`; None if its experiment is unknown."""
    runs: list[Run] = field(default_factory=list)
    broken: list[Run] = field(default_factory=list)
    """Runs with wrong keys, whose configurations hold the valid keys alone."""
    is_whole: bool = True
    """True if it has no problems, so that ``runs`` are complete."""


class Stages:
    """Linker of runs to the runs whose files they read."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages
        self._by_id = {stage.id: stage for stage in stages if stage.id}
        self._id_counts = Counter(stage.id for stage in stages if stage.id)
        self._matches: dict[Any, dict[Any, list[Run]]] = {}
        self._open: set[Run] = set()

    def link(self) -> list[Problem]:
        """Set the references of every run; return those that do not match exactly one run.

        A reference is not resolved if its stage, or the run that refers to it, has other problems.
        """
        problems = [
            Problem("two configurations have this id; rename one", "id", stage)
            for stage, count in sorted(self._id_counts.items())
            if count > 1
        ]
        for stage in self.stages:
            for run in stage.runs:
                names = list(_names(run))
                problems += [p for name in names for p in self._link(run, name)]
                if len(run.references) < len(names):
                    self._open.add(run)
            for run in stage.broken:
                problems += [p for name in _names(run) for p in self._misnamed(run, name)]
        return problems + self._cycles()

    def in_order(self) -> Iterator[Run]:
        """Yield the runs, each after those that it refers to.

        Runs with unresolved references are left out.
        """
        graph = {
            run: {reference.run for reference in run.references}
            for stage in self.stages
            for run in stage.runs
        }
        graph |= {run: {run} for run in self._open}  # never ready, like the stages of a ring
        sorter = graphlib.TopologicalSorter(graph)
        with contextlib.suppress(graphlib.CycleError):
            sorter.prepare()
        while ready := sorter.get_ready():
            yield from ready
            sorter.done(*ready)

    def _link(self, run: Run, name: _Name) -> Iterator[Problem]:
        """Find the run that ``name`` refers to and link it.

        Return why that is impossible, if so.
        """
        problems = list(self._misnamed(run, name))
        stage = self._by_id.get(name.stage)
        if problems or stage is None or not stage.is_whole or self._id_counts[name.stage] > 1:
            yield from problems
            return
        candidates = self._candidates(run, stage)
        if not candidates or (len(candidates) > 1 and _undecided(run, stage)):
            yield name.problem(run, _not_one(run, stage, candidates))
            return
        # Several that agree on every axis are equal, which is told of them and not of this run.
        path = (stage.files or {})[name.file]
        run.references.append(Reference(name.key, name.file, path, candidates[0]))

    def _misnamed(self, run: Run, name: _Name) -> Iterator[Problem]:
        """Yield the problem of a stage, or a file of it, that does not exist."""
        if name.stage not in self._by_id:
            known = sorted(self._by_id)
            hint = suggestion(name.stage, known) or f"; known: {', '.join(known) or 'none'}"
            yield name.problem(run, f"no configuration has the id '{name.stage}'{hint}")
            return
        files = self._by_id[name.stage].files
        if files is not None and name.file not in files:
            known_files = ", ".join(sorted(files)) or "none"
            message = f"'{name.stage}' leaves no file '{name.file}'; known: {known_files}"
            yield name.problem(run, message)

    def _candidates(self, run: Run, stage: Stage) -> list[Run]:
        """Return the stage's runs that agree with ``run`` on all axes that both set."""
        shared = tuple(key for key in stage.runs[0].point if _sets(run, key))
        if (stage.id, shared) not in self._matches:
            groups = self._matches[stage.id, shared] = defaultdict(list)
            for member in stage.runs:
                groups[_agreement(member, shared)].append(member)
        return self._matches[stage.id, shared].get(_agreement(run, shared), [])

    def _cycles(self) -> list[Problem]:
        graph: dict[str, set[str]] = defaultdict(set)
        for stage in self.stages:
            if stage.id:
                for run in stage.runs + stage.broken:
                    graph[stage.id] |= {name.stage for name in _names(run)}
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            ring = " -> ".join(error.args[1])
            return [Problem(f"the stages wait for each other: {ring}; break the ring")]
        return []


@dataclass(frozen=True)
class _Name:
    """A reference as a plan writes it."""

    key: Key
    stage: str
    file: str

    def problem(self, run: Run, message: str) -> Problem:
        """Return its problem in ``run``."""
        return Problem(message, key_path(self.key), f"@{self.stage}.{self.file}", run.where)


def is_reference(value: str) -> bool:
    """Return whether the value of an input file has the form of a reference."""
    return _REFERENCE.fullmatch(value) is not None


def inputs_of(run: Run) -> list[tuple[Key, str]]:
    """Return the input files of the run, and references to such, with the paths of their keys."""
    with asking(run.experiment, "inputs()"):
        return list(run.config.inputs())


def _names(run: Run) -> Iterator[_Name]:
    """Yield the references among the run's input files.

    Values of other keys may look like references.
    """
    for key, value in inputs_of(run):
        match = _REFERENCE.fullmatch(value)
        if match:
            yield _Name(key, match["stage"], match["file"])


def _agreement(run: Run, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return (run.repetition, *(_hashable(value_at(run.written, key)) for key in keys))


def _sets(run: Run, key: str) -> bool:
    """Return whether the plan writes a value for the (dotted) key of ``run``."""
    return value_at(run.written, key, _NOWHERE) is not _NOWHERE


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_hashable(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _hashable(value[key])) for key in sorted(value))
    return value


def _undecided(run: Run, stage: Stage) -> list[str]:
    """Return the stage's axes that ``run`` does not set."""
    return [key for key in stage.runs[0].point if not _sets(run, key)]


def _not_one(run: Run, stage: Stage, candidates: list[Run]) -> str:
    """Return why a reference does not match exactly one run, with the candidates."""
    shown = ", ".join(
        f"{member.name} ({', '.join(f'{k}={v}' for k, v in member.point.items()) or 'no options'})"
        for member in (candidates or stage.runs)[:_MOST_CANDIDATES]
    )
    more = ", ..." if len(candidates or stage.runs) > _MOST_CANDIDATES else ""
    if candidates:
        undecided = " or ".join(map(repr, _undecided(run, stage)))
        return (
            f"fits {len(candidates)} runs of '{stage.id}': {shown}{more}; set {undecided} here "
            "too, to choose one"
        )
    own = {key: value_at(run.written, key) for key in stage.runs[0].point if _sets(run, key)}
    return f"fits no run of '{stage.id}' with {own}; its runs: {shown}{more}"
