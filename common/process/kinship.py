"""Ties between a process and those that it has started, on Linux."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def end_with(parent: int) -> None:
    """Make the kernel kill this process when its parent has ended, whatever ends that."""
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before
        os._exit(1)


def end_after_writers(pipe: int) -> None:
    """Make the kernel end this process 16 seconds after nobody can write to ``pipe`` any more.

    That needs no other process, nor the interpreter, which a call of C may keep for ever. Nothing
    may ever be written to the pipe. At its end the kernel sends a signal that nothing else uses;
    its handler is C's ``alarm``, so that the signal's number is the number of seconds. A process
    that handles SIGALRM itself, or sets another alarm, ends otherwise.
    """
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        libc.signal(signal.SIGSTKFLT, ctypes.cast(libc.alarm, ctypes.c_void_p))
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGSTKFLT)
        fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_ASYNC)
        if select.select([pipe], [], [], 0)[0]:  # they have gone before
            os._exit(1)


def has_children() -> bool:
    """Return whether this process has children, some of which may have ended."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def adopt_orphans() -> None:
    """Make descendants of this process its children when their own parents end."""
    _control(_PR_SET_CHILD_SUBREAPER, 1)


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
