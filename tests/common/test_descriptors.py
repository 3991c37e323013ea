"""What this process has open stays its own, and what its runs open stays theirs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from common.process.descriptors import OwnDescriptor
from common.process.snapshot import put_back
from tests.few_files import full_but_for


def test_a_descriptor_is_its_files_until_that_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "own").open("w") as file:
        own = OwnDescriptor(file.fileno())
        own.check()
    with pytest.raises(OSError, match="Bad file descriptor"):
        own.check()
    with (tmp_path / "other").open("w") as other:
        assert other.fileno() == own.number
        with pytest.raises(OSError, match="Bad file descriptor"):
            own.check()


def test_files_with_the_numbers_of_what_a_run_has_closed_stay_open(tmp_path: Path) -> None:
    console = [os.fstat(number) for number in range(3)]
    before = _open_numbers()
    with put_back():
        closed = _open_numbers() - before
        for number in closed:
            os.close(number)
        files = [(tmp_path / str(number)).open("w") for number in closed]
    assert {file.fileno() for file in files} == closed
    for file in files:
        file.write("text")
        file.close()  # an error where the number has been closed
    assert all(map(os.path.samestat, console, map(os.fstat, range(3))))


@pytest.mark.parametrize("room", [0, 1, 2])
def test_where_too_many_files_are_open_no_run_begins_and_nothing_stays_open(room: int) -> None:
    with full_but_for(room) as left:
        with pytest.raises(OSError, match="Too many open files"), put_back():
            pass
        assert left() == room


def _open_numbers() -> set[int]:
    """The open descriptors, without that of the folder that lists them."""
    numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    return {number for number in numbers if _is_open(number)}


def _is_open(number: int) -> bool:
    with suppress(OSError):
        return bool(os.fstat(number))
    return False
