"""Time limits of attempts."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from common.runner.scheduling.task import Task

_GRACE = 10.0
"""Seconds that an attempt at its limit may take to write a checkpoint and end."""


class TimeLimit:
    """Limit of an attempt at the tasks of a slot, which begins now: the largest of theirs."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        limits = [task.timeout_seconds or math.inf for task in tasks]
        self._seconds = max(limits, default=math.inf)
        self._began = time.monotonic()

    def is_over(self, grace: float = 0.0) -> bool:
        """Return whether the attempt takes longer, by more than ``grace`` seconds."""
        return time.monotonic() - self._began > self._seconds + grace

    @property
    def is_ignored(self) -> bool:
        """True if the attempt had time to end by itself after the limit."""
        return self.is_over(_GRACE)

    @property
    def reason(self) -> str:
        """Message for people about an attempt that has been ended."""
        return f"no end within 'timeout_minutes' = {self._seconds / 60:g}"
