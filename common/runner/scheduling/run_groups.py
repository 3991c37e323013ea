"""Groups of runs that are trained together in one worker."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping

from common.plan.run import Plan, Run
from common.plan.vectorize_notices import vectorize_key, why_alone
from common.run import provenance
from common.run.folder import RunFolder
from common.runner.run_state import RunState
from common.runner.waiting_runs import WaitingRuns

LARGEST_GROUP = 64
"""Largest number of runs trained together, because the memory of a group grows with it."""


class RunGroups:
    """Chooser of the runs of a plan that are made with a first one."""

    def __init__(
        self, plan: Plan, waiting: WaitingRuns, states: Mapping[Run, RunState], *, threads: int
    ) -> None:
        """Choose among the ``waiting`` runs; ``states`` are those of all runs, now and later."""
        self._plan = plan
        self._waiting = waiting
        self._states = states
        self._threads = threads
        self._key = functools.cache(self._find_key)

    def of(self, run: Run, free_slots: int) -> list[Run]:
        """Return the run and those that can be made with it, shared among the free slots."""
        key = self._key(run)
        if key is None or self._states[run].lost:
            return [run]  # what was lost takes no others with it
        alike = [
            other
            for other in self._waiting.ready()
            if self._key(other) == key and not self._states[other].lost
        ]
        share = -(-len(alike) // free_slots)
        return alike[: min(share, LARGEST_GROUP)]

    def _find_key(self, run: Run) -> Hashable | None:
        """Return the key of runs that can be made together; None for a run made alone."""
        if not self._plan.document.vectorize or why_alone(run) is not None:
            return None
        threads = provenance.threads_of(RunFolder(run.folder)) or self._threads
        return run.spec.run_together, vectorize_key(run), threads
