"""Standard output and error that keep working when their reader is gone."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterable
from typing import Any, TextIO


def outlive_readers() -> None:
    """Keep failures of the console from changing what this process does, from now on.

    Output that cannot be written (the reader is gone, the disk is full, the terminal was closed) is
    dropped. A stream that was closed before the start is replaced by one that drops everything, so
    that no file of the program's takes its number.
    """
    _open_closed((0, 1, 2))
    sys.stdout = lasting(1, sys.stdout)
    sys.stderr = lasting(2, sys.stderr)


def lasting(descriptor: int, before: TextIO | None = None) -> TextIO:
    """Return a text stream to ``descriptor`` that never raises.

    It is encoded and flushed as ``before`` was.
    """
    raw: Any = _Lasting(descriptor, "wb", closefd=False)
    at_once = getattr(before, "line_buffering", False) or getattr(before, "write_through", False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace",  # of text that the encoding lacks
        line_buffering=at_once,
    )


class _Lasting(io.FileIO):
    """Raw stream to a descriptor that drops everything once it cannot be written to."""

    def write(self, data: Any, /) -> int:
        """Write as much as possible; return the number of bytes that need no other attempt."""
        try:
            written = super().write(data)
            while written is None:  # it is full, and some program has made it non-blocking
                select.select([], [self], [])
                written = super().write(data)
        except OSError:
            _lead_nowhere(self.fileno())
            return len(data)
        return written


def _open_closed(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        try:
            os.fstat(descriptor)
        except OSError:
            _lead_nowhere(descriptor)


def _lead_nowhere(descriptor: int) -> None:
    """Redirect libraries, and processes started later, to the streams that never fail."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == descriptor:
        os.set_inheritable(descriptor, True)
    else:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
