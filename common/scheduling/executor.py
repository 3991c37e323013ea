"""What the plan runner asks of whatever makes its runs."""

from __future__ import annotations

from typing import Protocol

from common.scheduling.task import Task


class Executor(Protocol):
    """Makes tasks in one or more slots. The result of each is in its folder."""

    @property
    def free_slots(self) -> int:
        """How many more tasks can be started now."""

    def start(self, task: Task) -> None:
        """Begins a task; may return when it has ended."""

    def wait(self) -> list[Task]:
        """The tasks that have ended since the last call; waits a moment for one."""

    def request_stop(self) -> None:
        """Asks all running tasks to write their checkpoints and end."""

    def close(self) -> None:
        """Ends at once whatever still runs."""
