"""Jobs that another runner of the plan has submitted, an earlier one or one beside this one."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.process.stopping import StopFlag
from common.run.folder import PlanFolder
from common.runner.scheduling.slurm import commands
from common.runner.scheduling.slurm.commands import QueuedJob
from common.runner.scheduling.slurm.ending import is_lost
from common.runner.scheduling.slurm.submission import Submission, submissions
from common.runner.scheduling.task import Task

_MOMENT = 0.5  # seconds


@dataclass
class Job:
    """A job with its tasks."""

    id: str
    tasks: Sequence[Task]
    submission: Submission
    gone_since: float | None = None
    """Time at which it was first missing in the queue."""


def jobs_of_others(
    plan: PlanFolder, tasks: Iterable[Task], own: Collection[str], stop: StopFlag
) -> list[Job]:
    """Return the jobs of the tasks that are in the queue, or have left it without a word.

    ``own`` are the names of submissions that are left out.

    Raises:
        SlurmError: SLURM does not answer.
    """
    recorded = _whole_submissions(plan, own, stop)
    if not recorded:
        return []
    by_folder = {Path(task.folder).resolve(): task for task in tasks}
    queue = commands.queue()
    return [job for one in recorded for job in _jobs(one.found_in(queue), queue, by_folder)]


def _whole_submissions(
    plan: PlanFolder, own: Collection[str], stop: StopFlag
) -> Sequence[Submission]:
    """Return the recorded submissions, once none of them may still be made."""
    while True:
        found = list(submissions(plan, but=own))
        if stop() or not any(one.may_arrive for one in found):
            return found
        time.sleep(_MOMENT)


def _jobs(
    submission: Submission, queue: Mapping[str, QueuedJob], by_folder: Mapping[Path, Task]
) -> Iterator[Job]:
    """Yield the jobs of a submission that are to be waited for; close it if nobody needs it."""
    goes_on = False
    for job_id, runs in zip(submission.job_ids(), submission.runs, strict=False):
        tasks = [by_folder[run] for run in runs if run in by_folder]
        if job_id in queue and not submission.is_whole(job_id):
            commands.cancel([job_id])  # its runner was killed before it had its function
        elif job_id in queue or any(is_lost(task, job_id, submission) for task in tasks):
            goes_on = True
            if tasks:
                yield Job(job_id, tasks, submission)
        else:
            goes_on |= submission.is_open(run for run in runs if run not in by_folder)
    if not goes_on:
        submission.close()
