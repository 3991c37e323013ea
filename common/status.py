"""The states of a run, and what its folder says of them."""

from __future__ import annotations

import datetime
import os
import socket
import traceback
from typing import Any

import psutil

from common.run_folder import RunFolder, write_json

WAITING = "waiting"
RUNNING = "running"
DONE = "done"
FAILED = "failed"
SKIPPED = "skipped"
INTERRUPTED = "interrupted"
STATES = (DONE, RUNNING, WAITING, INTERRUPTED, FAILED, SKIPPED)

_TRACEBACK_LINES = 30


def now() -> str:
    """The time in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def begin(
    folder: RunFolder, fingerprint: str, device: str, threads: int, *, num_together: int
) -> dict[str, Any]:
    """Writes that this process makes an attempt at the run; gives what it wrote."""
    before = folder.read_status()
    status = {
        "status": RUNNING,
        "fingerprint": fingerprint,
        "attempt": before.get("attempt", 0) + 1,
        "pid": os.getpid(),
        "pid_started": psutil.Process().create_time(),
        "host": socket.gethostname(),
        "device": device,
        "threads": threads,
        "num_together": num_together,
        "started": now(),
        "seconds": before.get("seconds", 0.0),
    }
    write_json(folder.status, status)
    return status


def end(folder: RunFolder, status: str, *, reason: str | None = None, **values: Any) -> None:
    """Writes how the attempt ended, beside what its beginning wrote."""
    write_json(
        folder.status,
        {**folder.read_status(), "status": status, "reason": reason, "ended": now(), **values},
    )


def end_of_traceback(error: BaseException) -> str:
    """The last lines of a traceback, for ``status.json``."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(lines[-_TRACEBACK_LINES:])


def current(status: dict[str, Any]) -> str:
    """The state that ``status.json`` tells of, knowing that a dead process runs nothing."""
    state: str = status.get("status", WAITING)
    if state not in STATES:  # somebody has written into the file
        return WAITING
    return INTERRUPTED if state == RUNNING and not _is_alive(status) else state


def _is_alive(status: dict[str, Any]) -> bool:
    """Whether the process that wrote ``status`` lives; assumed of processes on other hosts."""
    if not {"host", "pid", "pid_started"} <= status.keys():
        return False
    if status["host"] != socket.gethostname():
        return True
    try:
        process = psutil.Process(status["pid"])
        same = abs(process.create_time() - status["pid_started"]) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
