"""Stop requests: immediate while no run is under way, and first a gentle one while runs are."""

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
"""Signals that ask to stop: Ctrl-C and similar ones."""
OF_CLUSTERS = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals by which clusters announce the end of a job."""


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals of `SIGNALS` that ask to stop here; under nohup, SIGHUP does not."""
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return tuple(number for number in SIGNALS if number != signal.SIGHUP or not is_ignored)


def end_at_once() -> None:
    """Make Ctrl-C and similar signals end this process with one line, outside of `StopFlag`.

    This works while modules are imported and where KeyboardInterrupt is caught. No run is under way
    then, and files are written completely or not at all.
    """
    for number in stop_signals():
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(_STDERR, _AT_ONCE)
    os._exit(exit_status(number))


def exit_status(number: int) -> int:
    """Return the exit status that a shell expects of a program ended by a signal."""
    return 128 + number


class StoppedAtOnce(KeyboardInterrupt):
    """Exception for a second stop request; user code may raise KeyboardInterrupt itself."""


class StopFlag:
    """Flag that is true after a stop request."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """Signal of the stop request, if it was one."""
        self._requested = False

    def __call__(self) -> bool:
        """Return whether a stop has been requested."""
        return self._requested

    def request(self) -> None:
        """Request a stop."""
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
        """Set the flag at the first Ctrl-C, SIGTERM or end of the terminal inside the block.

        Raises:
            StoppedAtOnce: at the second one.
        """
        before = [(number, signal.signal(number, self._on_signal)) for number in stop_signals()]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    @property
    def exit_status(self) -> int:
        """Exit status of a program that the signal, or Ctrl-C, ended."""
        return exit_status(self.signal or signal.SIGINT)
