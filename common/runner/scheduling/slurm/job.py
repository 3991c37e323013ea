"""A SLURM job: makes a run, or several together, in worker processes of its node.

A job that its time limit, preemption or another signal of the cluster ends asks its runs for a
checkpoint and goes back into the queue. SIGINT is the runner's: it means to stop, as Ctrl-C does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from common.machine.devices import VISIBLE
from common.process.stopping import OF_CLUSTERS
from common.run import status
from common.run.folder import RunFolder
from common.run.status import DONE, FAILED, INTERRUPTED, RUNNING
from common.runner.scheduling.local_workers import LocalWorkers
from common.runner.scheduling.slurm import commands
from common.runner.scheduling.slurm.ending import is_by, is_held, label, record_cancelled, state
from common.runner.scheduling.task import Task, from_line

log = logging.getLogger(__name__)

_MOMENT = 1.0  # seconds
STOP = signal.SIGINT
"""Signal of the runner."""
_OF_THE_CLUSTER = (*OF_CLUSTERS, signal.SIGTERM)
"""Signals ahead of a time limit (SIGUSR2), of preemption, and of the end of any job."""


class _Requests:
    """Requests to stop that signals have made."""

    def __init__(self) -> None:
        self.any = False
        self.by_runner = False
        signal.signal(STOP, self._of_runner)
        for number in _OF_THE_CLUSTER:
            signal.signal(number, self._of_cluster)

    def _of_runner(self, number: int, frame: FrameType | None) -> None:
        self.any = self.by_runner = True

    def _of_cluster(self, number: int, frame: FrameType | None) -> None:
        self.any = True


def make(line: str) -> None:
    """Make the tasks in a line of `common.runner.scheduling.task.to_line`.

    Raises:
        SystemExit: a run is not done, so that the job counts as failed.
    """
    requests = _Requests()
    job_id = _own_id()
    os.environ[status.JOB] = label(job_id)
    tasks = [task for task in from_line(line) if state(task) != DONE]
    for task in tasks:
        _outlast(task, job_id)
    if tasks and _has_gpus(tasks):
        _work(tasks, requests)
    left = [task for task in tasks if state(task) == INTERRUPTED]
    if left and requests.any and not requests.by_runner:
        _go_back(job_id, left)
    if any(state(task) != DONE for task in tasks):
        sys.exit(1)


def _work(tasks: Sequence[Task], requests: _Requests) -> None:
    ranks = tasks[0].num_ranks
    workers = LocalWorkers(1, tasks[0].threads, (), lambda *_: None, most_ranks=ranks)
    passed_on = False
    try:
        workers.start(tasks)
        while not workers.wait():
            if requests.any and not passed_on:
                workers.request_stop()
                passed_on = True
    finally:
        workers.close()


def _outlast(task: Task, job_id: str) -> None:
    """Wait for the lease that this job held on a node from which SLURM has taken it away."""
    while is_by(task, job_id) and state(task) == RUNNING and is_held(task):
        time.sleep(_MOMENT)


def _go_back(job_id: str, tasks: Sequence[Task]) -> None:
    """Put this job into the queue again for the tasks, unless somebody has cancelled it."""
    try:
        if commands.is_wanted(job_id):
            commands.requeue(job_id)
            return
        for task in tasks:
            record_cancelled(task, job_id)
    except commands.SlurmError as error:
        log.warning("the job is not put into the queue again: %s", error)


def _has_gpus(tasks: Sequence[Task]) -> bool:
    """Return whether the job has the GPUs that its runs need; the runs fail if not."""
    needed, shown = len(tasks[0].gpu_ids), os.environ.get(VISIBLE)
    if not needed or shown is None or len(shown.split(",")) >= needed:
        return True
    reason = (f"{needed} GPUs are needed, but the job sees {VISIBLE} = '{shown}'; 'gres' or "
              "'constraint' of the executor may be wrong")  # fmt: skip
    for task in tasks:
        status.end_from_outside(
            RunFolder(Path(task.folder)), FAILED, reason=reason, **task.identity
        )
    return False


def _own_id() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
