"""Ends of jobs, as runs' folders and SLURM tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.run import status
from common.run.folder import RunFolder
from common.run.lease_files import holder
from common.run.status import DONE, INTERRUPTED, RUNNING
from common.runner.scheduling.lost_attempts import record_loss
from common.runner.scheduling.slurm import commands
from common.runner.scheduling.slurm.submission import Submission
from common.runner.scheduling.task import Task

_CANCELLED = "CANCELLED"
_LIKELY = {
    "TIMEOUT": "no checkpoint between the signal ahead of the time limit and the limit",
    "OUT_OF_MEMORY": "'resources.memory_gb' may be too low",
}
"""Causes of ends without a word, by SLURM's states."""


def label(job_id: str) -> str:
    """Return the job as ``status.json`` names it."""
    return f"SLURM job {job_id}"


def state(task: Task) -> str:
    """Return what the folder says of the task's run; empty if it says nothing of it."""
    found = RunFolder(Path(task.folder)).read_status()
    known = [task.identity[key] for key in ("fingerprint", "config_fingerprint")
             if key in task.identity]  # fmt: skip
    return str(found.get("status", "")) if found.get("fingerprint") in known else ""


def has_told(task: Task, job_id: str) -> bool:
    """Return whether the folder tells how the job ended, or that others have taken up the run."""
    found = state(task)
    return found == DONE or (found == RUNNING) != is_by(task, job_id)


def is_lost(task: Task, job_id: str, submission: Submission) -> bool:
    """Return whether a job that has left the queue has begun, and has not told how it ended."""
    return not has_told(task, job_id) and (is_by(task, job_id) or submission.has_begun(job_id))


def record_cancelled(task: Task, job_id: str) -> None:
    """Record that somebody has cancelled the job, so that the run is not put into the queue again.

    The next command makes the run further.
    """
    folder = RunFolder(Path(task.folder))
    status.end_from_outside(
        folder, INTERRUPTED, reason=f"{label(job_id)} was cancelled", cancelled=True,
        **task.identity,
    )  # fmt: skip


def is_held(task: Task) -> bool:
    """Return whether some process holds the lease of the run, or did a moment ago."""
    return holder(Path(task.folder)) is not None


def settle(tasks: Sequence[Task], job_id: str, submission: Submission) -> None:
    """Record the end of a job that has left the queue without telling it, for its tasks."""
    how = commands.state_of(job_id)
    lost = [task for task in tasks if is_lost(task, job_id, submission)]
    if how == _CANCELLED or not lost:
        for task in tasks:
            record_cancelled(task, job_id)
        return
    ended = f"{label(job_id)} ended" + (f" as {how}" if how else "")
    if is_by(lost[0], job_id):
        reason = f"{ended} without a word ({_LIKELY.get(how, 'a lost node, or out of memory?')})"
    else:
        words = submission.last_words(job_id)
        reason = f"{ended} before the run began" + (f": {words}" if words else "")
    record_loss(lost, reason)


def is_by(task: Task, job_id: str) -> bool:
    """Return whether the job made the last attempt at the run."""
    return RunFolder(Path(task.folder)).read_status().get("job") == label(job_id)
