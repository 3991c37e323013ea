"""Pace of checkpoints: times at which a run writes its state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_CHECKPOINTS = 60.0
LEAST_MULTIPLE = 20.0
"""Smallest ratio of the computing time between two checkpoints to the writing time of the first."""


class Pace:
    """Timer of a run's checkpoints, or of other files that take time to write.

    A run that is killed loses at most a minute of work, or more if writing is slow: all checkpoints
    together take at most one part in `LEAST_MULTIPLE` of the remaining time.
    """

    def __init__(self) -> None:
        """Start the timer, as if something had just been written at no cost."""
        self._written_at = time.monotonic()
        self._seconds = 0.0

    def is_due(self, *, soon: bool = False) -> bool:
        """Return whether a checkpoint is due.

        With ``soon``, it may be due before the minute is over, but not too often.
        """
        passed = time.monotonic() - self._written_at
        least = LEAST_MULTIPLE * self._seconds
        return passed >= (least if soon else max(least, SECONDS_BETWEEN_CHECKPOINTS))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Measure the writing of a checkpoint in the block."""
        started = time.monotonic()
        yield
        self._written_at = time.monotonic()
        self._seconds = self._written_at - started
