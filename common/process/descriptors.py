"""Descriptors of this process that its user code does not know, and may close."""

from __future__ import annotations

import errno
import os


class OwnDescriptor:
    """Descriptor whose number user code may have closed, or made another file's."""

    def __init__(self, number: int) -> None:
        """Remember which open file has the number now."""
        self.number = number
        self._file = os.fstat(number)

    def check(self) -> None:
        """Check that the number is still this file's.

        Raises:
            OSError: it is not.
        """
        if not os.path.samestat(os.fstat(self.number), self._file):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
