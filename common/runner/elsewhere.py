"""Runs that other processes make: those of another runner, or of one that was killed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator

from common.plan.run import Run
from common.run.lease_files import holder
from common.run.status import RUNNING
from common.runner.run_state import RunState, read_state

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 1.0
"""Seconds between two looks at these runs."""
_MOMENT = 0.2
"""Seconds of sleep while there is nothing else to do; a stop request is heard afterwards."""


class Elsewhere:
    """Runs that other processes make, and that this one waits for or takes over."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = list(runs)
        self._looked_at = 0.0
        self._has_told = False

    def ended(self) -> Iterator[tuple[Run, RunState]]:
        """Yield the runs that nobody makes any more, with their states, now and then."""
        if time.monotonic() - self._looked_at < _SECONDS_BETWEEN_LOOKS:
            return
        self._looked_at = time.monotonic()
        for run in list(self.runs):
            now = read_state(run)
            if now.state != RUNNING:
                self.runs.remove(run)
                yield run, now

    def wait(self) -> None:
        """Wait a moment for them; the first time, say for whom."""
        if not self._has_told:
            makers = {str(found) for run in self.runs if (found := holder(run.folder))}
            log.info("waiting for what others make: %s", ", ".join(sorted(makers)))
            self._has_told = True
        time.sleep(_MOMENT)
