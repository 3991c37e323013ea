"""Failures of runs, as their folders and the console report them."""

from __future__ import annotations

from dataclasses import dataclass

from common.custom.user_code import PartError, told
from common.errors import UserError, shortened, text_of
from common.run.status import end_of_traceback
from common.runner.scheduling.out_of_memory import is_out_of_memory, memory_message
from common.runner.scheduling.task import Task


@dataclass(frozen=True)
class Failure:
    """Cause of a run's end."""

    reason: str
    """Message for people; the run's log has all of a long one."""
    error: BaseException | None
    """Exception with a traceback to show; None if the reason is enough for the user."""

    @property
    def traceback(self) -> str | None:
        """Last lines of the traceback."""
        return None if self.error is None else end_of_traceback(self.error)


def failure_of(error: BaseException, task: Task, *, num_together: int = 1) -> Failure:
    """Return the failure that ``error`` means for the run, or a rank of it, that it has ended.

    ``num_together`` runs were made together.
    """
    if isinstance(error, UserError):
        return Failure(text_of(error), error.__cause__ if isinstance(error, PartError) else None)
    if is_out_of_memory(error):
        reason = memory_message(error, task, num_together=num_together)
    else:
        reason = shortened(told(error))
    return Failure(reason, error)
