"""Messages of a worker to its parent, a line each, over a pipe to which its runs may write, too.

A message is marked as the worker's. What runs write there unknowingly is left out, whatever it is.
"""

from __future__ import annotations

import json
from typing import Any


def to_line(worker: int, message: dict[str, Any]) -> str:
    """Return a message of the process ``worker`` as a line that begins after any other output."""
    return f"\n{_mark(worker)}{json.dumps(message)}\n"


class Messages:
    """Messages among all that one worker and its runs write."""

    def __init__(self, worker: int) -> None:
        self._mark = _mark(worker).encode()
        self._rest = b""

    def of(self, output: bytes) -> list[dict[str, Any]]:
        """Return the messages that end in the next piece of output."""
        *lines, rest = (self._rest + output).split(b"\n")
        self._rest = rest if self._may_be_one(rest) else b""
        found = [self._message(line) for line in lines if line.startswith(self._mark)]
        return [message for message in found if message is not None]

    def _may_be_one(self, beginning: bytes) -> bool:
        """Return whether it may become a message; of others nothing is kept: they may be long."""
        return beginning[: len(self._mark)] == self._mark[: len(beginning)]

    def _message(self, line: bytes) -> dict[str, Any] | None:
        """Return the message in a marked line; None if a run has written into its middle."""
        try:
            message: dict[str, Any] = json.loads(line.removeprefix(self._mark))
        except ValueError:
            return None
        return message


def _mark(worker: int) -> str:
    return f"worker {worker}: "
