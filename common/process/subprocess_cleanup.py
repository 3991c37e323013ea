"""Threads and child processes of runs that outlive them."""

from __future__ import annotations

import atexit
import functools
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

import psutil

log = logging.getLogger(__name__)

_SECONDS_TO_END = 1.0
_SECONDS_TO_BE_GONE = 10.0
"""Seconds in which killed processes are gone, with their GPU memory; only one that hangs in a
driver takes longer."""
_ENDS_BY_ITSELF = "multiprocessing.resource_tracker"
"""Module of a helper process of Python, which ends after its parent and must outlive it."""


def children_of(pid: int, *, but: Collection[int] = ()) -> list[psutil.Process]:
    """Return the processes that ``pid`` has started, and their own; not ``but`` and theirs."""
    with suppress(psutil.Error):
        found = psutil.Process(pid).children(recursive=True)
        # These are looked for last: some may be new.
        others = {*but, *(child.pid for other in but for child in children_of(other))}
        return [
            child for child in found if child.pid not in others and not _goes_with_its_parent(child)
        ]
    return []


def group_of(leader: int) -> list[psutil.Process]:
    """Return the other processes of the group of ``leader``, which may have ended before them."""
    found = []
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):
            if pid != leader and os.getpgid(pid) == leader:
                found.append(psutil.Process(pid))
    return found


def _goes_with_its_parent(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any(_ENDS_BY_ITSELF in word for word in process.cmdline())
    return False


def end(processes: Iterable[psutil.Process]) -> None:
    """Ask processes to end, and then kill them."""
    kill(_ask_to_end(processes))


def _ask_to_end(processes: Iterable[psutil.Process]) -> Sequence[psutil.Process]:
    """Ask processes to end; return those that go on."""
    asked = list(processes)
    for process in asked:
        with suppress(psutil.Error):
            process.terminate()
    return wait_for(asked, _SECONDS_TO_END)


def kill(processes: Iterable[psutil.Process], seconds: float = _SECONDS_TO_BE_GONE) -> None:
    """Kill processes, and wait until they are gone: the kernel kills after the call returns."""
    killed = list(processes)
    for process in killed:
        with suppress(psutil.Error):
            process.kill()
    wait_for(killed, seconds)


def wait_for(processes: Sequence[psutil.Process], seconds: float) -> Sequence[psutil.Process]:
    """Wait until processes have ended, for at most so many seconds; return those that go on."""
    going_on, deadline = processes, time.monotonic() + seconds
    while going_on and (left := deadline - time.monotonic()) > 0:
        try:
            _, going_on = psutil.wait_procs(going_on, left)
        except OSError:  # psutil 7.2's error on Linux before 6.15 if one has just ended
            going_on = [process for process in going_on if process.is_running()]
    return going_on


def kill_all(find: Callable[[], Sequence[psutil.Process]]) -> Sequence[psutil.Process]:
    """Kill what ``find`` returns until it returns nothing; return what cannot be killed.

    A process that is killed may just have started another one.
    """
    deadline = time.monotonic() + _SECONDS_TO_BE_GONE
    while (found := find()) and (seconds := deadline - time.monotonic()) > 0:
        kill(found, seconds)
    return found


def end_all_children(*, but: Collection[int] = (), at_once: bool = False) -> None:
    """End what this process has started until nothing is left of it, but ``but`` and theirs.

    Processes are asked to end before they are killed, unless that is to be ``at_once``.
    """
    find = functools.partial(children_of, os.getpid(), but=but)
    if not at_once:
        _ask_to_end(find())
    kill_all(find)


def leave_after(main: Callable[[], int]) -> NoReturn:
    """End this process with the exit status of ``main``, and with it all processes that runs left.

    Otherwise Python would wait for threads and processes that are not daemons, for ever if they do
    not end.
    """
    atexit.register(_end_own_children)  # after the libraries that ``main`` loads have ended theirs
    status = main()
    left = _left_behind()
    if not left:
        sys.exit(status)
    log.warning(
        "a run left threads or processes, which are ended without waiting: %s", ", ".join(left)
    )
    _end_own_children()
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(status)


def _end_own_children() -> None:
    end(children_of(os.getpid()))


def _left_behind() -> Sequence[str]:
    """Return the threads and processes that Python would wait for at the end, for people."""
    threads = [thread for thread in threading.enumerate() if not thread.daemon]
    own = [thread.name for thread in threads if thread is not threading.main_thread()]
    children = [child for child in multiprocessing.active_children() if not child.daemon]
    return [*(f"thread {name}" for name in own), *(f"process {child.pid}" for child in children)]
