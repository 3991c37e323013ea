"""Interface of executors, which make a plan's runs for the runner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from common.runner.scheduling.task import Task

ProgressOf = Callable[[Sequence[Task], int, int, str], None]
"""Function that reports how many of how many epochs (or other units) a slot's tasks have done, and
what is being done."""


class Executor(Protocol):
    """Executor of tasks in one or more slots.

    Several tasks may share a slot, and then end together. The result of each task is in its folder.
    """

    @property
    def free_slots(self) -> int:
        """Number of free slots."""

    @property
    def is_detached(self) -> bool:
        """True if its tasks are to go on without this process; false if they end with it."""
        return False

    def adopt(self, tasks: Iterable[Task]) -> Sequence[Task]:
        """Return those of the tasks that an earlier runner has handed over and that go on.

        They are not to be started; `wait` returns them when they have ended. There are none where
        tasks end with their runner.
        """
        return ()

    def gpus_for(self, task: Task) -> Sequence[int]:
        """Return the GPUs of this machine that the task would get if it were started now."""
        return ()

    def idle_gpus(self) -> Sequence[int]:
        """Return the GPUs of this machine on which idle workers hold memory, once for each."""
        return ()

    def processes(self) -> Sequence[int]:
        """Return the worker processes of this machine, by their numbers."""
        return ()

    def start(self, tasks: Sequence[Task]) -> None:
        """Start tasks that share a slot; may return when they have ended.

        An executor with a queue may collect them until `wait`.
        """

    def wait(self) -> list[Task]:
        """Return the tasks that have ended since the last call; wait a moment for one.

        After `request_stop`, tasks are among them that had not begun.
        """

    def request_stop(self) -> None:
        """Ask all running tasks to write their checkpoints and end."""

    def close(self) -> None:
        """Kill all tasks that still run."""
