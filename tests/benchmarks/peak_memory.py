"""The memory that work takes at its most, in a process that has held more before."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_OWN = Path("/proc/self")
_FORGET_PEAK = "5"
_UNITS = 1024  # bytes


def memory_of(work: Callable[[], T]) -> tuple[int, T]:
    """Bytes by which this process's memory grows at most during the work, and what the work gives.

    ``ru_maxrss`` would not do: in a process that another one starts it begins at that one's peak.
    """
    gc.collect()  # what is freed on the way, or kept for later, would hide as much
    ctypes.CDLL(None).malloc_trim(0)
    (_OWN / "clear_refs").write_text(_FORGET_PEAK)
    before = _bytes("VmRSS")
    made = work()
    return _bytes("VmHWM") - before, made


def _bytes(field: str) -> int:
    lines = (_OWN / "status").read_text().splitlines()
    return _UNITS * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
