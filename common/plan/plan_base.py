"""A plan's own ``base_config``: which of its keys some configuration knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from common.config.base import resolve_sound_keys
from common.custom.hooks import answers
from common.errors import Problem
from common.experiment import Experiment
from common.key_paths import Key, key_path, leaves
from common.plan.base_files import BASE
from common.plan.expansion import Draft
from common.plan.layers import Layer, laid
from common.plan.reading import OUTSIDE_RUNS


class PlanBase:
    """Keeps, while the runs of a plan are made, the keys of its base that none has known so far."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        values = laid(layers)
        self._not_known = {key for key, _ in leaves(values)} if values else set()
        self._left_out: dict[Key, list[tuple[str, Experiment, Draft]]] = defaultdict(list)

    def note(self, draft: Draft, spec: Experiment, experiment: str) -> None:
        """Take account of a run of ``experiment``, which ``spec`` describes."""
        if self._not_known:
            values = Layer("", draft.values)
            self._not_known = {key for key in self._not_known if not values.gives(key)}
            for key in draft.unknown:
                self._left_out[key].append((experiment, spec, draft))

    def problems(self) -> list[Problem]:
        """Return one problem for each key that no run knows.

        Runs may know what holds a key to a different depth: the problem is of the deepest one.
        """
        refused: dict[Key, None] = {}
        for key in sorted(self._not_known, key=key_path):
            holders = [outer for outer in self._left_out if key[: len(outer)] == outer]
            if holders:
                refused[max(holders, key=len)] = None
        return [self._problem(key) for key in refused]

    def _problem(self, key: Key) -> Problem:
        """Return what the runs say of the key: one that suggests another key, if there is any."""
        told = [problem for one in self._left_out[key] for problem in _told(key, *one)]
        helpful = [problem for problem in told if "known:" not in problem.message]
        return next(iter([*helpful, *told]), Problem("unknown key", key_path(key))).at(BASE)


def _told(key: Key, experiment: str, spec: Experiment, draft: Draft) -> Iterator[Problem]:
    """Yield what is wrong with the key in one run, which parts may say themselves."""
    config, problems = resolve_sound_keys(spec.config, draft.laid, OUTSIDE_RUNS)
    if config is not None:
        problems += answers(Problem, experiment, "problems()", config.problems)
    yield from (problem for problem in problems if problem.key == key_path(key))
