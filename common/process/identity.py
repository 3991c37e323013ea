"""Identity of processes: on which machine they are, and whether they are still alive."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_START_TIME = 19
"""Index of ``starttime`` among the fields of a process's ``stat`` that follow its name."""
_SAME_START = 1.0
"""Largest difference in seconds between two readings of the start of one process."""


@functools.cache
def this_machine() -> str:
    """Return eight hex digits of the machine on which this process can look for others by number.

    Another host has others, and so have the same one after a restart and each container. Names of
    hosts do not tell them apart: machines that are copies of one another have the same.
    """
    name = socket.gethostname()
    if _BOOT_ID.exists() and _PID_NAMESPACE.is_symlink():
        name = f"{_BOOT_ID.read_text().strip()} {_PID_NAMESPACE.readlink()}"
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def own_start() -> float:
    """Return the start of this process, in seconds since that of the machine."""
    return _start_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _start_of(pid: int) -> float:
    """Return the start of a process; that of a copy of this one is its own."""
    return _since_boot(psutil.Process(pid))


def _since_boot(process: psutil.Process) -> float:
    """Return the start of a process in seconds since that of the machine.

    On Linux, no step of the machine's clock changes it: the field ``starttime`` of proc_pid_stat(5)
    is a number of ticks since the machine's start.

    Raises:
        psutil.NoSuchProcess: the process has ended.
        psutil.AccessDenied: this user may not know.
    """
    if not psutil.LINUX:
        start: float = process.create_time() - psutil.boot_time()
        return start
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_bytes()
    except PermissionError:
        raise psutil.AccessDenied(process.pid) from None
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(process.pid) from None
    fields = stat.rpartition(b")")[2].split()  # the name before may have brackets and spaces
    return int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")


def is_alive(pid: int, start: float) -> bool:
    """Return whether the process of this machine with that number and start is alive."""
    try:
        process = psutil.Process(pid)
        same = abs(_since_boot(process) - start) < _SAME_START
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return psutil.pid_exists(pid)  # another user's may be hidden
