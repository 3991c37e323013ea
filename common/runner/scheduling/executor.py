"""What the plan runner asks of whatever makes its runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from common.runner.scheduling.task import Task

ProgressOf = Callable[[Sequence[Task], int, int], None]
"""Told how many of how many epochs (or other units) the tasks of a slot have done."""


class Executor(Protocol):
    """Makes tasks in one or more slots; several tasks may share a slot, and then end together.

    The result of each is in its folder.
    """

    @property
    def free_slots(self) -> int:
        """How many slots nothing runs in."""

    def start(self, tasks: Sequence[Task]) -> None:
        """Begins tasks that share a slot; may return when they have ended."""

    def wait(self) -> list[Task]:
        """The tasks that have ended since the last call; waits a moment for one."""

    def request_stop(self) -> None:
        """Asks all running tasks to write their checkpoints and end."""

    def close(self) -> None:
        """Ends at once whatever still runs."""
