"""Seconds of several ways to do the same work, which take turns."""

from __future__ import annotations

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch


def seconds_of(work: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """Wall-clock seconds until the device, too, has done its part of the work."""
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else _nothing
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


def _nothing() -> None:
    pass


def medians_in_turns(
    ways: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Median seconds of each way; all take turns, after one round that warms up."""
    measured = {name: partial(seconds_of, work, device) for name, work in ways.items()}
    return _medians(measured, rounds)


def _medians(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    seconds = [{name: measured() for name, measured in ways.items()} for _ in range(rounds + 1)]
    return {name: statistics.median(row[name] for row in seconds[1:]) for name in ways}


class Turns:
    """Turns of a process that works when it is told to, and tells its seconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self) -> bool:
        """Wait for a turn; false if there is none any more."""
        self._connection.send(None)  # the work is made, or the last turn's seconds were told
        return bool(self._connection.recv())

    def end(self, seconds: float) -> None:
        """Tell the seconds that the turn took."""
        self._connection.send(seconds)


Process = Callable[[Turns], None]
"""What a process does, turn by turn; it must be picklable."""


def medians_of_processes(ways: Mapping[str, Process], rounds: int) -> dict[str, float]:
    """Median seconds of each way in a process of its own; all take turns, after one that warms up.

    So none reuses the memory that another one has freed.
    """
    with contextlib.ExitStack() as ended:
        own = {name: ended.enter_context(_process(work)) for name, work in ways.items()}
        return _medians(own, rounds)


@contextlib.contextmanager
def _process(work: Process) -> Iterator[Callable[[], float]]:
    """Yield a function that has a process do its work once, and returns the seconds."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(work, theirs))
    process.start()
    theirs.close()
    ours.recv()  # it is ready

    def turn() -> float:
        ours.send(True)
        seconds: float = ours.recv()
        ours.recv()  # it is ready again
        return seconds

    try:
        yield turn
        ours.send(False)
    finally:
        ours.close()
        process.join()


def _work(work: Process, connection: Connection) -> None:
    work(Turns(connection))


def in_turns(work: Callable[[], Any], turns: Turns) -> None:
    """Do a work as often as there are turns."""
    while turns.begin():
        turns.end(seconds_of(work))
