"""What hangs, whoever asks it to end; the module loads nothing of weight."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import NoReturn


def hang_in_c() -> NoReturn:
    """Waits in a function of C for ever, which lets nothing else of Python run."""
    lock = ctypes.create_string_buffer(64)
    while True:
        ctypes.PyDLL(None).pthread_mutex_lock(lock)


class HangingMetric:
    """A metric that hangs, once there is a file of the name that it is given."""

    def __init__(self, marker: str) -> None:
        self._marker = Path(marker)

    def make_scorer(self) -> NoReturn:
        self._marker.touch()
        hang_in_c()
