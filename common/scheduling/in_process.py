"""Makes runs one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable

from common.scheduling.attempt import attempt
from common.scheduling.task import Task


class InProcess:
    """An executor with one slot; `start` returns when the run has ended."""

    def __init__(
        self, stop_requested: Callable[[], bool], progress: Callable[[Task, int, int], None]
    ) -> None:
        self._stop_requested = stop_requested
        self._progress = progress
        self._ended: list[Task] = []

    @property
    def free_slots(self) -> int:
        """One, unless a task's end has not been asked for yet."""
        return 0 if self._ended else 1

    def start(self, task: Task) -> None:
        """Makes the run."""
        attempt(
            task,
            stop_requested=self._stop_requested,
            progress=lambda done, total: self._progress(task, done, total),
        )
        self._ended.append(task)

    def wait(self) -> list[Task]:
        """The run just made."""
        ended, self._ended = self._ended, []
        return ended

    def request_stop(self) -> None:
        """Nothing to do: the run itself asks whether it should stop."""

    def close(self) -> None:
        """Nothing to do: nothing runs."""
