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


def has_ended(task: Task, job_id: str) -> bool:
    """Return whether the folder tells how the job ended, or that others have taken up the run."""
    found = state(task)
    by_job = RunFolder(Path(task.folder)).read_status().get("job") == label(job_id)
    return found == DONE or (found != RUNNING if by_job else found == RUNNING)


def settle(task: Task, job_id: str, submission: Submission) -> None:
    """Record the end of a job that has left the queue without telling it."""
    folder = RunFolder(Path(task.folder))
    begun = folder.read_status().get("job") == label(job_id)
    how = commands.state_of(job_id)
    if how == _CANCELLED:
        status.end(folder, INTERRUPTED, reason=f"{label(job_id)} was cancelled", **task.identity)
        return
    how = f" as {how}" if how else ""
    if begun:
        reason = f"{label(job_id)} ended{how} without a word (a lost node, or out of memory?)"
    else:
        words = submission.last_words(job_id)
        reason = f"{label(job_id)} ended{how} before the run began"
        reason += f": {words}" if words else f"; see {submission.path}"
    status.end(folder, INTERRUPTED, reason=reason, **task.identity)
