"""Ends of jobs, as runs' folders and SLURM tell of them."""

from __future__ import annotations

from pathlib import Path

from common.run import status
from common.run.folder import RunFolder
from common.run.status import DONE, INTERRUPTED, RUNNING
from common.runner.scheduling.slurm import commands
from common.runner.scheduling.slurm.submission import Submission
from common.runner.scheduling.task import Task

_CANCELLED = "CANCELLED"


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
    return found == DONE or (found == RUNNING) != _is_by(task, job_id)


def is_lost(task: Task, job_id: str, submission: Submission) -> bool:
    """Return whether a job that has left the queue has begun, and has not told how it ended."""
    return not has_told(task, job_id) and (_is_by(task, job_id) or submission.has_begun(job_id))


def settle(task: Task, job_id: str, submission: Submission) -> None:
    """Record the end of a job that has left the queue without telling it."""
    folder, job = RunFolder(Path(task.folder)), label(job_id)
    how = commands.state_of(job_id)
    if how == _CANCELLED or not is_lost(task, job_id, submission):
        status.end(folder, INTERRUPTED, reason=f"{job} was cancelled", **task.identity)
        return
    ended = f"{job} ended as {how}" if how else f"{job} ended"
    if _is_by(task, job_id):
        reason = f"{ended} without a word (a lost node, or out of memory?)"
    else:
        words = submission.last_words(job_id)
        reason = f"{ended} before the run began" + (f": {words}" if words else "")
    status.end(folder, INTERRUPTED, reason=reason, **task.identity)


def _is_by(task: Task, job_id: str) -> bool:
    """Return whether the job made the last attempt at the run."""
    return RunFolder(Path(task.folder)).read_status().get("job") == label(job_id)
