"""How often a run writes the state that it would go on from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_CHECKPOINTS = 60.0
LEAST_MULTIPLE = 20.0
"""Times as long as the last checkpoint took to write, the run computes before the next one."""


class Pace:
    """Says when a run's next checkpoint is due, or another file that takes time to write.

    A run that is killed loses a minute of work. Where writing takes long it loses more, since all
    checkpoints together take at most one part in `LEAST_MULTIPLE` of the time of the rest.
    """

    def __init__(self) -> None:
        """Begins now, as if something had just been written, and at no cost."""
        self._written_at = time.monotonic()
        self._seconds = 0.0

    def is_due(self, *, soon: bool = False) -> bool:
        """Whether to write now; with ``soon`` before the minute is over, too, but not too often."""
        passed = time.monotonic() - self._written_at
        least = LEAST_MULTIPLE * self._seconds
        return passed >= (least if soon else max(least, SECONDS_BETWEEN_CHECKPOINTS))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around the writing of a checkpoint."""
        started = time.monotonic()
        yield
        self._written_at = time.monotonic()
        self._seconds = self._written_at - started
