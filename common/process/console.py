"""Standard output and error that outlive whoever reads them."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterable
from typing import Any, TextIO


def outlive_readers() -> None:
    """Keeps what becomes of the console from changing what this process does, from now on.

    What nobody takes any more (the reader has gone, the disk is full, the terminal was closed) is
    dropped. A stream that was closed before the start leads nowhere, so that no file of the
    program's is opened in its place.
    """
    _open_closed((0, 1, 2))
    sys.stdout = lasting(1, sys.stdout)
    sys.stderr = lasting(2, sys.stderr)


def lasting(descriptor: int, before: TextIO | None = None) -> TextIO:
    """A text stream to ``descriptor`` that never raises; encoded and flushed as ``before`` was."""
    raw: Any = _Lasting(descriptor, "wb", closefd=False)
    at_once = getattr(before, "line_buffering", False) or getattr(before, "write_through", False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace",  # of text that the encoding lacks
        line_buffering=at_once,
    )


class _Lasting(io.FileIO):
    """A descriptor that leads nowhere once it cannot be written to."""

    def write(self, data: Any, /) -> int:
        """Writes what it can; gives the number of bytes that need no other try."""
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
    """Has libraries, too, and processes started later, write to where everything is taken."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == descriptor:
        os.set_inheritable(descriptor, True)
    else:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
