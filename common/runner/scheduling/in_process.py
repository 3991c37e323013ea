"""Executor that makes runs one after the other in this process, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from common.machine.devices import gpus_hidden
from common.process.supervisor import making
from common.runner.scheduling.attempt import attempt
from common.runner.scheduling.executor import Executor, ProgressOf
from common.runner.scheduling.task import Task


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
        """Make the runs."""
        with gpus_hidden(), making([task.folder for task in tasks]):
            attempt(
                tasks,
                stop_requested=self._stop_requested,
                progress=lambda done, total, doing="": self._progress(tasks, done, total, doing),
            )
        self._ended += tasks

    def wait(self) -> list[Task]:
        """Return the runs just made."""
        ended, self._ended = self._ended, []
        return ended

    def request_stop(self) -> None:
        """Do nothing: the run itself checks for a stop request."""

    def close(self) -> None:
        """Do nothing: no run is under way."""
