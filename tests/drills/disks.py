"""Disks in need: one that is full for a while, and one that turns read-only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from tests.common.executors.site import outcome
from tests.drills.watching import UnderWay

Trouble = Callable[[Path], AbstractContextManager[None]]


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Inside the block the folder's disk has not a byte left, whatever is removed."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


def starve(under_way: UnderWay, disk: Path, trouble: Trouble, times: int) -> int:
    """Runs the plan again and again, each time with trouble of the disk; gives how often.

    Raises:
        AssertionError: the program says a traceback, or ends as if all were well.
    """
    for number in range(times):
        runner = under_way.start()
        if under_way.reaches_work(runner):
            with trouble(disk):
                time.sleep(under_way.dice.uniform(0.5, 3))
        ended = outcome(runner, under_way.site.patience)
        assert "Traceback" not in ended.err, ended.err
        assert ended.status in (0, 1), ended
        if ended.status == 0:
            return number + 1
    return times
