"""Claim of a task: of all processes that have it, one makes the run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from common.files.fsync import make_folder
from common.files.no_space import explaining_no_space
from common.run.folder import RunFolder
from common.run.lease import Lease, LeaseHeld, take
from common.run.status import DONE, FAILED
from common.runner.scheduling.task import Task


def claim(task: Task) -> Lease | None:
    """Return the lease of the task's run; None if the run is to be left alone.

    That is so if another process makes the run, or has made it since the runner looked at it.

    Raises:
        NoSpace: there is none for the lease.
    """
    folder = RunFolder(Path(task.folder))
    make_folder(folder.path)
    try:
        with explaining_no_space(folder.path):
            lease = take(folder.path)
    except LeaseHeld:
        return None
    with ExitStack() as stack:
        stack.callback(lease.release)
        if _is_open(folder, task):
            stack.pop_all()
            return lease
    return None


def _is_open(folder: RunFolder, task: Task) -> bool:
    """Return whether the run is to be made; what is made again waits, by its status.

    An attempt that has not told of its end, and that nobody counted as lost, ended with who watched
    it: a killed runner, a machine without power. That is not the run's doing, however often.
    """
    found = folder.read_status()
    if found.get("fingerprint") not in (
        task.identity["fingerprint"],
        task.identity.get("config_fingerprint"),
    ):
        return True
    return found.get("status") not in (DONE, FAILED)
