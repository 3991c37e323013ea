"""Asking a program to stop: at once while nothing is made, and first gently while runs are."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_STDERR = 2
_MESSAGE = b"\nstopping after the next checkpoint; once more (Ctrl-C) stops at once\n"
_AT_ONCE = b"\nstopped\n"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C and its like: they ask to stop."""


def _asked_by() -> tuple[signal.Signals, ...]:
    """Those of `SIGNALS` that ask here; the end of the terminal does not under nohup."""
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return tuple(number for number in SIGNALS if number != signal.SIGHUP or not is_ignored)


def end_at_once() -> None:
    """Has Ctrl-C and its like end this process with one line, from now on, outside of `StopFlag`.

    Also while modules are imported, and whatever catches a KeyboardInterrupt: nothing is made yet,
    and files appear whole or not at all.
    """
    for number in _asked_by():
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(_STDERR, _AT_ONCE)
    os._exit(_status(number))


def _status(number: int) -> int:
    """What a shell expects of a program that a signal ended."""
    return 128 + number


class StoppedAtOnce(KeyboardInterrupt):
    """The user has asked twice; user code may raise a KeyboardInterrupt of its own."""


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
            if number == signal.SIGHUP:  # a closed terminal may say so twice
                return
            raise StoppedAtOnce
        self.signal = number
        self.request()
        with suppress(OSError):  # not by print, in the middle of which the signal may have come
            os.write(_STDERR, _MESSAGE)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside the block the first Ctrl-C, SIGTERM or end of the terminal sets the flag.

        Raises:
            StoppedAtOnce: at the second one.
        """
        before = [(number, signal.signal(number, self._on_signal)) for number in _asked_by()]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    @property
    def exit_status(self) -> int:
        """That of a program which the signal ended, or Ctrl-C."""
        return _status(self.signal or signal.SIGINT)
