"""Notes of a process in memory that another one reads, also when the first has died."""

from __future__ import annotations

import json
import mmap
import struct
from typing import Any

_LENGTH = struct.Struct("=I")
_SIZE = 2**20


class Notes:
    """One JSON value; processes that are forked later share it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)

    def write(self, value: Any) -> None:
        """Replace the value; a death in between leaves None."""
        content = json.dumps(value).encode()
        assert len(content) <= _SIZE - _LENGTH.size, len(content)
        self._memory[: _LENGTH.size] = _LENGTH.pack(0)
        self._memory[_LENGTH.size : _LENGTH.size + len(content)] = content
        self._memory[: _LENGTH.size] = _LENGTH.pack(len(content))

    def read(self) -> Any:
        """Return the value; None if there is none."""
        (length,) = _LENGTH.unpack(self._memory[: _LENGTH.size])
        content = self._memory[_LENGTH.size : _LENGTH.size + length]
        return json.loads(content) if length else None
