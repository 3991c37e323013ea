"""States of a run, and their record in its folder."""

from __future__ import annotations

import datetime
import json
import os
import socket
import traceback
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from common.errors import UserError, shortened
from common.files.fsync import make_folder, sync_folder, sync_tree
from common.files.no_space import NoSpace
from common.run.folder import RunFolder, read_record, write_json
from common.run.lease import check_lease, holding
from common.run.lease_files import PREFIX, holder
from common.run.record_schemas import PROVENANCE

WAITING = "waiting"
RUNNING = "running"
DONE = "done"
FAILED = "failed"
SKIPPED = "skipped"
INTERRUPTED = "interrupted"
STATES = (DONE, RUNNING, WAITING, INTERRUPTED, FAILED, SKIPPED)
QUEUED = "queued"
"""State of a run in a cluster's queue, which its folder does not know."""

JOB = "RUN_PLAN_JOB"
"""Environment variable with the cluster's name of the job that makes the runs."""

_TRACEBACK_LINES, _TRACEBACK_LENGTH = 30, 20_000


def now() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def begin(
    folder: RunFolder, identity: Mapping[str, Any], device: str, threads: int, *, num_together: int
) -> dict[str, Any]:
    """Record that this process begins an attempt at the run; return the record.

    ``identity`` is what the run is, see `common.plan.run.Run.identity`.
    """
    before = folder.read_status()
    status = {
        "status": RUNNING,
        **identity,
        "attempt": before.get("attempt", 0) + 1,
        "lost": before.get("lost", 0),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "device": device,
        "threads": threads,
        "num_together": num_together,
        "started": now(),
        "seconds": before.get("seconds", 0.0),
    }
    if JOB in os.environ:
        status["job"] = os.environ[JOB]
    write_json(folder.status, status)
    return status


def end(
    folder: RunFolder,
    status: str,
    *,
    begun: Mapping[str, Any] | None = None,
    reason: str | None = None,
    **values: Any,
) -> None:
    """Record the end of an attempt, in addition to its beginning.

    ``begun`` is the record of that, as it is in the folder; it is read there if it is not given.

    The files of a done run are on the disk before its status, so that a power cut cannot lose them.

    Raises:
        OSError: there is no space for the run's files, or for the status.
    """
    with nullcontext() if status == DONE else suppress(OSError):
        sync_tree(folder.path, but=(PREFIX,))
    before = folder.read_status() if begun is None else begun
    found = {**before, "status": status, "reason": reason, "ended": now(), **values}
    try:
        write_json(folder.status, found)
    except NoSpace:
        if status == DONE or not folder.status.exists():
            raise
        _write_over(folder.status, found)
    else:
        sync_folder(folder.path)


def end_from_outside(folder: RunFolder, status: str, **values: Any) -> None:
    """Record the end of a run that this process has not attempted, unless another one makes it."""
    make_folder(folder.path)
    with holding(folder.path) as is_free:
        if is_free:
            end(folder, status, **values)


def _write_over(path: Path, value: Any) -> None:
    """Overwrite the file in place, if the disk has no other space left."""
    check_lease(path)
    with path.open("r+b") as file:
        file.write(json.dumps(value).encode())
        file.truncate()


_KEPT = ("fingerprint", "config_fingerprint", "sources", "attempt", "threads", "seconds")


def wait_again(folder: RunFolder, attempt: int) -> None:
    """Record that a run that has ended is to be made again, with as many attempts as a new one.

    Nothing changes if another process has begun a later attempt than ``attempt``.
    """
    with holding(folder.path) as is_free:
        found = folder.read_status()
        if is_free and found.get("attempt", 0) == attempt:
            kept = {key: found[key] for key in _KEPT if key in found}
            write_json(folder.status, {"status": WAITING, **kept})


def end_of_traceback(error: BaseException) -> str:
    """Return the last lines of a traceback, for ``status.json``."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return shortened("\n".join(lines[-_TRACEBACK_LINES:]), _TRACEBACK_LENGTH)


def current(folder: RunFolder, status: dict[str, Any]) -> str:
    """Return the state of the run: that in its ``status``, unless its folder's lease tells more.

    A run whose lease is held is running; one without a living holder is not.
    """
    state: str = status.get("status", WAITING)
    if state in (DONE, FAILED):
        return state
    if holder(folder.path) is not None:
        return RUNNING
    if state not in STATES:  # somebody has written into the file
        return WAITING
    return INTERRUPTED if state == RUNNING else state


def first_begun(folder: RunFolder) -> float | None:
    """Return the start of the first attempt, in seconds since 1970; None if it is not recorded."""
    try:
        found = read_record(folder.provenance, PROVENANCE) or {}
        return datetime.datetime.fromisoformat(found["started"]).timestamp()
    except (UserError, KeyError, TypeError, ValueError):
        return None
