"""The terminal of a program whose work is done by a child process in a process group of its own.

Keys such as Ctrl-C reach the parent alone. The child is lent the terminal when it reads from it,
as a debugger does.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_STDIN = 0


def stop_together(child: int) -> None:
    """Stop the child's group and this process, as Ctrl-Z asks, until they are continued."""
    _send(child, signal.SIGSTOP)
    _stop_this()
    _send(child, signal.SIGCONT)


def answer_stop(child: int, number: int) -> None:
    """Let a child go on that was stopped by a signal, with the terminal if it needs that."""
    if number == signal.SIGSTOP:  # somebody else's doing, who continues it
        return
    if number in (signal.SIGTTIN, signal.SIGTTOU) and _holder() == os.getpgrp():
        _give_to(child)
    else:  # the whole program is in the background, or Ctrl-Z has reached the child
        if _holder() == child:
            _give_to(os.getpgrp())
        _stop_this()
    _send(child, signal.SIGCONT)


def take_back(child: int) -> None:
    """Take the terminal back from a child that has ended."""
    if _holder() == child:
        _give_to(os.getpgrp())


def _holder() -> int | None:
    """Return the process group that the terminal's keys reach; None without a terminal."""
    with suppress(OSError):
        return os.tcgetpgrp(_STDIN)
    return None


def _give_to(group: int) -> None:
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else it would stop this process
    with suppress(OSError):
        os.tcsetpgrp(_STDIN, group)
    signal.signal(signal.SIGTTOU, before)


def _stop_this() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _send(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
