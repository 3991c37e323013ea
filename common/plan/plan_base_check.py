"""Check of a plan's own ``base_config``: every key must be known to some configuration."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from common.config.resolve import resolve_valid_keys
from common.custom.hooks import answers
from common.errors import Problem
from common.experiment import Experiment
from common.key_paths import Key, key_path, leaves, without
from common.plan.base_config_files import BASE
from common.plan.config_merge import Layer, laid
from common.plan.entry import Entry
from common.plan.reading import OUTSIDE_RUNS
from common.plan.sweep import Draft

_OfRun = tuple[str, Experiment, Draft]


class PlanBase:
    """Record, during the expansion of a plan, of the keys of its base that no run knows so far."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        values = laid(layers)
        self._not_known = {key for key, _ in leaves(values)} if values else set()
        self._left_out: dict[Key, dict[int, _OfRun]] = defaultdict(dict)

    def note(self, draft: Draft, entry: Entry, spec: Experiment) -> None:
        """Note the keys that a run of a configuration knows."""
        if self._not_known:
            self._not_known = {key for key in self._not_known if not _holds(draft.values, key)}
            for key in draft.unknown:
                self._left_out[key].setdefault(entry.position, (entry.experiment, spec, draft))

    def problems(self) -> list[Problem]:
        """Return one problem for each key that no run knows.

        Runs may know a key's path to different depths; the problem names the deepest one.
        """
        refused: dict[Key, None] = {}
        for key in sorted(self._not_known, key=key_path):
            holders = [outer for outer in self._left_out if key[: len(outer)] == outer]
            if holders:
                refused[max(holders, key=len)] = None
        return [self._problem(key) for key in refused]

    def _problem(self, key: Key) -> Problem:
        """Return the problem of the key: a run's suggestion, or else the message common to all."""
        told = [problem for one in self._left_out[key].values() for problem in _told(key, *one)]
        for problem in told:
            if "known:" not in problem.message:
                return problem.at(BASE)
        if len({problem.message for problem in told}) == 1:
            return told[0].at(BASE)
        value = told[0].value if told else None
        return Problem("unknown key; no configuration knows it", key_path(key), value, BASE)


def _holds(values: Any, key: Key) -> bool:
    """Return whether there is a value at the whole path."""
    for part in key:
        inner = dict(enumerate(values)) if isinstance(values, list) else values
        if not isinstance(inner, dict) or part not in inner:
            return False
        values = inner[part]
    return True


def _told(key: Key, experiment: str, spec: Experiment, draft: Draft) -> Iterator[Problem]:
    """Yield the problems of the key in one run, which parts may report themselves."""
    values = without(draft.laid, [other for other in draft.unknown if other != key])
    config, problems = resolve_valid_keys(spec.config, values, OUTSIDE_RUNS.get)
    if config is not None:
        problems += answers(Problem, experiment, "problems()", config.problems)
    yield from (problem for problem in problems if problem.key == key_path(key))
