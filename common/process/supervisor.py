"""Supervisor: the process that a user starts, which outlives whatever user code does to the work.

The work is done in a child process, which is forked before anything of weight is loaded. The
supervisor passes signals on. It kills a child that does not end within seconds of the second
request to stop, and sees to it that folders are told how a child has ended that could not say so.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from common.process import terminal
from common.process.kinship import adopt_orphans, end_with, has_children
from common.process.notes import Notes
from common.process.stopping import SIGNALS, end_at_once, exit_status, stop_signals

_SECONDS_TO_END = 4.0
"""Seconds that a child may take to end after the second request to stop."""
_SECONDS_TO_TELL = 5.0
"""Seconds that another child may take to tell the folders how one has ended."""


@dataclass(frozen=True)
class Ended:
    """A process that has ended within what it was making, and that this one replaces."""

    code: int
    """Exit status; ``-n`` for an end by signal ``n``."""
    under_way: Sequence[str]
    """Names of what it was making."""
    program_started: float
    """Start of the program, in seconds since 1970."""


Tell = Callable[[str, int | None], None]
"""Function that tells a folder how the process has ended that was working on it, as `Ended.code`;
None if the user has stopped it."""


class _ThisProcess:
    """The process that runs this code, as its supervisor knows it, if it has one."""

    notes: Notes | None = None
    replaces: Ended | None = None


def replaced() -> Ended | None:
    """Return the process that this one replaces; None if it is the first."""
    return _ThisProcess.replaces


@contextmanager
def working_on(folder: str) -> Iterator[None]:
    """Note that the folder is to be told if this process ends within the block."""
    with _noting({"folder": folder, "under_way": []}):
        yield


@contextmanager
def making(names: Sequence[str]) -> Iterator[None]:
    """Note what is made within the block, by this very process, and may take it along."""
    with _noting({"under_way": list(names)}):
        yield


def leave_to_another() -> None:
    """End this process, within a block of `making`, if there is a supervisor that replaces it."""
    if _ThisProcess.notes is not None:
        os._exit(1)


@contextmanager
def _noting(values: dict[str, Any]) -> Iterator[None]:
    notes = _ThisProcess.notes
    if notes is None:
        yield
        return
    before = notes.read() or {}
    notes.write({**before, **values})
    try:
        yield
    finally:
        notes.write(before)


def supervise(tell: Tell) -> None:
    """Return in a child process; the process that was started watches it and never returns."""
    notes, started = Notes(), time.time()
    ended: Ended | None = None
    others = _children()
    adopt_orphans()
    while True:
        parent, child = _fork()
        if child == 0:
            _ThisProcess.notes, _ThisProcess.replaces = notes, ended
            _begin(parent)
            return
        watch = _Watch(child)
        code, noted = watch.wait(), notes.read() or {}
        notes.write({})
        _end_orphans(others, at_once=code < 0 or bool(noted))
        if noted.get("under_way") and not watch.stopped_by:
            ended = Ended(code, noted["under_way"], started)
            continue
        if noted:
            _tell(tell, noted["folder"], None if watch.stopped_by else code)
        if watch.stopped_by and (noted or watch.is_killed):
            code = exit_status(watch.stopped_by)
        _leave(code)


def _fork() -> tuple[int, int]:
    """Return the ids of this process, as the parent, and of its child; the latter is 0 in it."""
    _block_signals()  # until either process handles them
    return os.getpid(), os.fork()


def _begin(parent: int) -> None:
    """Set up a child: the terminal's keys reach its parent alone."""
    os.setpgid(0, 0)
    end_with(parent)
    for number in (signal.SIGTSTP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    end_at_once()
    _unblock_signals()


def _tell(tell: Tell, folder: str, code: int | None) -> None:
    """Tell the folder, by another child with a time limit."""
    parent, child = _fork()
    if child == 0:
        _begin(parent)
        try:
            tell(folder, code)
        finally:
            os._exit(0)
    _Watch(child, _SECONDS_TO_TELL).wait()


class _Watch:
    """Supervision of one child."""

    def __init__(self, child: int, seconds: float = 0.0) -> None:
        """Handle signals for the child, which may live for so many seconds; 0 for no limit."""
        self.stopped_by: int | None = None
        self.is_killed = False
        self._child = child
        self._is_passed_on_twice = False
        with suppress(OSError):  # the child does so too; whoever is first
            os.setpgid(child, child)
        for number in stop_signals():
            signal.signal(number, self._pass_on)
        signal.signal(signal.SIGTSTP, lambda *_: terminal.stop_together(child))
        signal.signal(signal.SIGALRM, self._kill)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _unblock_signals()

    def wait(self) -> int:
        """Return how the child has ended, as its exit status or ``-n`` for signal ``n``."""
        while True:
            pid, status = os.waitpid(-1, os.WUNTRACED)  # of orphans too
            if pid == self._child and os.WIFSTOPPED(status):
                terminal.answer_stop(pid, os.WSTOPSIG(status))
            elif pid == self._child:
                break
        _block_signals()
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        terminal.take_back(self._child)
        return os.waitstatus_to_exitcode(status)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """Pass on a request to stop; after the second one the child has seconds to end."""
        if self.stopped_by is None:
            self.stopped_by = number
        elif self._is_passed_on_twice:
            return
        elif number != signal.SIGHUP:  # a closed terminal may say so twice
            self._is_passed_on_twice = True
            signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_END)
        with suppress(ProcessLookupError):
            os.kill(self._child, number)

    def _kill(self, number: int, frame: FrameType | None) -> None:
        self.is_killed = True
        with suppress(ProcessLookupError):
            os.killpg(self._child, signal.SIGKILL)


_HANDLED = (*SIGNALS, signal.SIGTSTP, signal.SIGALRM)


def _block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def _children() -> Collection[int]:
    """Return this process's children, which a shell had started that it has taken the place of."""
    if not has_children():
        return ()
    import psutil

    return [child.pid for child in psutil.Process().children()]


def _end_orphans(others: Collection[int], *, at_once: bool) -> None:
    """End what a child that is gone has started, but not the ``others`` that were there before."""
    if has_children():
        from common.process.subprocess_cleanup import end_all_children

        end_all_children(but=others, at_once=at_once)


def _leave(code: int) -> NoReturn:
    """End as the child has ended; this process has nothing of its own to say."""
    for number in _HANDLED:
        signal.signal(number, signal.SIG_IGN)  # the child's number may be another's by now
    _unblock_signals()
    if code < 0:
        with suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else exit_status(-code))
