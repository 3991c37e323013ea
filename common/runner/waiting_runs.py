"""Waiting runs of a plan in order, with what each waits for."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from common.run.status import DONE, FAILED, INTERRUPTED, SKIPPED

if TYPE_CHECKING:
    from common.plan.run import Run
    from common.runner.run_state import RunState

_NEVER_DONE = (FAILED, SKIPPED, INTERRUPTED)


class WaitingRuns:
    """Queue of runs: a run is ready when all that it refers to are done, and blocked if one fails.

    Every operation looks at the runs concerned alone, so that a plan of many runs costs as much per
    run as one of few.
    """

    def __init__(self, runs: Iterable[Run], states: Mapping[Run, RunState]) -> None:
        """Queue ``runs``; ``states`` are those of all runs of the plan, now and later."""
        self._states = states
        self._places = {run: place for place, run in enumerate(runs)}
        self._first_place = 0
        self._ready: list[tuple[int, Run]] = []
        """Heap of ready runs with their places; those that have left the queue stay for a while."""
        self._blocked: deque[tuple[Run, Run]] = deque()
        self._awaited: defaultdict[Run, set[Run]] = defaultdict(set)
        self._dependents: defaultdict[Run, list[Run]] = defaultdict(list)
        for run in self._places:
            self._enter(run)

    def __len__(self) -> int:
        """Return the number of waiting runs."""
        return len(self._places)

    def __iter__(self) -> Iterator[Run]:
        """Yield all waiting runs, in order."""
        return iter(sorted(self._places, key=self._places.__getitem__))

    def ready(self) -> list[Run]:
        """Return the ready runs, in order."""
        return [run for place, run in sorted(self._ready) if self._places.get(run) == place]

    def first_ready(self) -> Run | None:
        """Return the first ready run; None if there is none."""
        while self._ready and self._places.get(self._ready[0][1]) != self._ready[0][0]:
            heapq.heappop(self._ready)
        return self._ready[0][1] if self._ready else None

    def take_blocked(self) -> Iterator[tuple[Run, Run]]:
        """Take the blocked runs out; yield each with a run that it refers to and that has failed.

        Runs that become blocked meanwhile are included.
        """
        while self._blocked:
            run, source = self._blocked.popleft()
            if run in self._places:
                self.remove(run)
                yield run, source

    def remove(self, run: Run) -> None:
        """Take the run out."""
        del self._places[run]

    def put_first(self, run: Run) -> None:
        """Put in a run that goes before all others."""
        self._first_place -= 1
        self._places[run] = self._first_place
        self._enter(run)

    def note_end(self, source: Run) -> None:
        """Note that a run has ended, so that others may be ready, or blocked, now."""
        is_done = self._states[source].state == DONE
        for run in self._dependents.pop(source, ()):
            if is_done:
                self._awaited[run].discard(source)
                self._push_if_ready(run)
            else:
                self._blocked.append((run, source))

    def _enter(self, run: Run) -> None:
        """Make the run ready, blocked, or dependent on the runs that it waits for."""
        for source in {reference.run: None for reference in run.references}:
            if self._states[source].state in _NEVER_DONE:
                self._blocked.append((run, source))
            if self._states[source].state != DONE:
                self._awaited[run].add(source)
                self._dependents[source].append(run)
        self._push_if_ready(run)

    def _push_if_ready(self, run: Run) -> None:
        if run in self._places and not self._awaited.get(run):
            heapq.heappush(self._ready, (self._places[run], run))
