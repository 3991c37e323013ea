"""Messages of a worker are told from whatever runs write to its pipe."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import Any

import pytest

from common.runner.scheduling.messages import Messages, to_line

SAID: list[dict[str, Any]] = [
    {"progress": [1, 3, "sampling"]}, {"warning": "a\nb é"}, {"ended": True}
]  # fmt: skip
WRITTEN = (
    b"7",
    b"\xff\n\n",
    b'{"failed": 1}\n{"ended": true}',
    b"work",
    to_line(12, {"ended": True}).encode(),
    b"x" * 1000,
)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
@pytest.mark.parametrize("written", WRITTEN)
def test_messages_are_heard_among_what_runs_write(written: bytes, size: int) -> None:
    lines = [to_line(1, message).encode() for message in SAID]
    output = written + written.join(lines) + written
    messages = Messages(1)
    edges = [*range(0, len(output), size), len(output)]
    heard = [messages.of(output[start:end]) for start, end in pairwise(edges)]
    assert [message for some in heard for message in some] == SAID


def test_a_message_into_which_a_run_writes_is_none() -> None:
    line = to_line(1, {"progress": [1, 3, ""]}).encode()
    messages = Messages(1)
    assert messages.of(line[:25] + b"\n7\n" + line[25:]) == []
    assert messages.of(line) == [{"progress": [1, 3, ""]}]


def test_of_what_a_run_writes_without_end_nothing_is_kept() -> None:
    messages, piece = Messages(1), bytes(100_000)
    tracemalloc.start()
    for _ in range(20):
        assert messages.of(piece) == []
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2 * len(piece)
    assert messages.of(to_line(1, {"ended": True}).encode()) == [{"ended": True}]
