"""A process that may open few files more."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def full_but_for(room: int) -> Iterator[Callable[[], int]]:
    """Lets this process open only so many more files; gives how many it still may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    held = _opened()
    try:
        for number in held[:room]:
            os.close(number)
        yield _count_openable
    finally:
        for number in held[room:]:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _count_openable() -> int:
    """How many files this process may open."""
    opened = _opened()
    for number in opened:
        os.close(number)
    return len(opened)


def _opened() -> list[int]:
    """As many open files as this process may have."""
    opened: list[int] = []
    with pytest.raises(OSError, match="Too many open files"):
        while True:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    return opened
