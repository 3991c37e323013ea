"""Asking a program to stop: first gently, then at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_STDERR = 2
_MESSAGE = b"\nstopping after the next checkpoint; once more (Ctrl-C) stops at once\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopFlag:
    """True once a stop has been asked for."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that asked, if one did."""
        self._requested = False

    def __call__(self) -> bool:
        """Whether a stop has been asked for."""
        return self._requested

    def request(self) -> None:
        """Asks for a stop."""
        self._requested = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        self.request()
        with suppress(OSError):  # not by print, in the middle of which the signal may have come
            os.write(_STDERR, _MESSAGE)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside the block the first Ctrl-C or SIGTERM sets the flag.

        Raises:
            KeyboardInterrupt: at the second one.
        """
        before = [(number, signal.signal(number, self._on_signal)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    @property
    def exit_status(self) -> int:
        """What a shell expects of a program that a signal ended: 128 plus its number."""
        return 128 + (self.signal or signal.SIGINT)
