"""Threads that a process computes with: their number, and how idle ones wait."""

from __future__ import annotations

import os
from collections.abc import Mapping

_VARIABLE = "OMP_NUM_THREADS"
_WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000"}
"""Variables by which idle threads spin for half a millisecond, and then sleep."""


def waiting_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables that make idle threads sleep soon; none if ``environment`` has one of them.

    They count for a process that has yet to load torch. Threads that spin on and on stall every
    neighbour on a busy machine. Those that sleep at once wake up too late for the next operation,
    so that small models train half as fast.
    """
    return {} if _WAITING.keys() & environment else _WAITING


def threads_of_each(processes: int, asked: int | None) -> int:
    """Return the number of threads of each of ``processes`` that run at the same time.

    It is the plan's number, else the user's ``OMP_NUM_THREADS``, else an equal share of the cores
    that this process may use.
    """
    return asked or _of_environment() or max(1, len(os.sched_getaffinity(0)) // processes)


def threads_on_cluster(asked: int | None, cpus: int | None, ranks: int) -> int:
    """Return the number of threads of each of a run's ``ranks`` processes on a cluster's node.

    It is the plan's number, else the user's ``OMP_NUM_THREADS``, else an equal share of the
    ``cpus`` that the run asks for, else one.
    """
    return asked or _of_environment() or max(1, (cpus or 1) // ranks)


def _of_environment() -> int | None:
    """Return the variable's number, the first of several.

    None if OpenMP would ignore it.
    """
    first = os.environ.get(_VARIABLE, "").partition(",")[0].strip()
    return int(first) or None if first.isdecimal() else None
