"""Executor that makes runs one after the other in this process, on the CPU."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence

from common.machine.devices import gpus_hidden
from common.process.supervisor import leave_to_another, making
from common.runner.scheduling.attempt import attempt
from common.runner.scheduling.executor import Executor, ProgressOf
from common.runner.scheduling.task import Task, names

log = logging.getLogger(__name__)


class InProcess(Executor):
    """Executor with one slot; `start` returns when its runs have ended."""

    def __init__(self, stop_requested: Callable[[], bool], progress: ProgressOf) -> None:
        self._stop_requested = stop_requested
        self._progress = progress
        self._ended: list[Task] = []

    @property
    def free_slots(self) -> int:
        """One, unless the last tasks' end has not been collected yet."""
        return 0 if self._ended else 1

    def start(self, tasks: Sequence[Task]) -> None:
        """Make the runs.

        Raises:
            OSError: they cannot be recorded.
        """
        with gpus_hidden(), making([task.folder for task in tasks]):
            try:
                self._attempt(tasks)
            except OSError as error:
                if error.errno == errno.EMFILE:  # runs keep open what they opened
                    log.error("%s: %s", names(tasks), error)
                    leave_to_another()
                raise
        self._ended += tasks

    def _attempt(self, tasks: Sequence[Task]) -> None:
        attempt(
            tasks,
            stop_requested=self._stop_requested,
            progress=lambda done, total, doing="": self._progress(tasks, done, total, doing),
        )

    def wait(self) -> list[Task]:
        """Return the runs just made."""
        ended, self._ended = self._ended, []
        return ended

    def request_stop(self) -> None:
        """Do nothing: the run itself checks for a stop request."""

    def close(self) -> None:
        """Do nothing: no run is under way."""
