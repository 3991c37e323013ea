"""How many threads a process computes with."""

from __future__ import annotations

import os

_VARIABLE = "OMP_NUM_THREADS"


def threads_of_each(processes: int, asked: int | None) -> int:
    """Threads of each of ``processes`` that compute at a time.

    What the plan asks for; else what the user's ``OMP_NUM_THREADS`` says; else an equal share of
    the cores that this process may use.
    """
    return asked or _of_environment() or max(1, len(os.sched_getaffinity(0)) // processes)


def _of_environment() -> int | None:
    """The variable's number, the first of several; None where OpenMP would ignore it, too."""
    first = os.environ.get(_VARIABLE, "").partition(",")[0].strip()
    return int(first) or None if first.isdecimal() else None
