"""What runs have started is ended, and waited for, whatever becomes of it meanwhile."""

from __future__ import annotations

import errno
import os
import subprocess

import psutil
import pytest

from common.process.subprocess_cleanup import end, kill, wait_for


@pytest.fixture
def _older_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux before 6.15: the number of a process that has just ended may be told to be invalid."""
    pidfd_open = os.pidfd_open

    def open_as_before(pid: int, flags: int = 0) -> int:
        try:
            return pidfd_open(pid, flags)
        except ProcessLookupError:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from None

    monkeypatch.setattr("os.pidfd_open", open_as_before)


@pytest.mark.usefixtures("_older_linux")
def test_processes_that_have_ended_before_others_are_waited_for() -> None:
    first, other = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
    gone, going_on = psutil.Process(first.pid), psutil.Process(other.pid)
    first.kill()
    first.wait()
    try:
        assert wait_for([gone, going_on], 0.01) == [going_on]
        end([gone])
        kill([gone, going_on])
        assert not going_on.is_running()
    finally:
        other.kill()
        other.wait()
