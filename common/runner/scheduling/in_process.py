"""Makes runs one after the other in this process, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from common.machine.devices import gpus_hidden
from common.runner.scheduling.attempt import attempt
from common.runner.scheduling.executor import ProgressOf
from common.runner.scheduling.task import Task


class InProcess:
    """An executor with one slot; `start` returns when its runs have ended."""

    def __init__(self, stop_requested: Callable[[], bool], progress: ProgressOf) -> None:
        self._stop_requested = stop_requested
        self._progress = progress
        self._ended: list[Task] = []

    @property
    def free_slots(self) -> int:
        """One, unless the last tasks' end has not been asked for yet."""
        return 0 if self._ended else 1

    def start(self, tasks: Sequence[Task]) -> None:
        """Makes the runs."""
        with gpus_hidden():
            attempt(
                tasks,
                stop_requested=self._stop_requested,
                progress=lambda done, total: self._progress(tasks, done, total),
            )
        self._ended += tasks

    def wait(self) -> list[Task]:
        """The runs just made."""
        ended, self._ended = self._ended, []
        return ended

    def request_stop(self) -> None:
        """Nothing to do: the run itself asks whether it should stop."""

    def close(self) -> None:
        """Nothing to do: nothing runs."""
