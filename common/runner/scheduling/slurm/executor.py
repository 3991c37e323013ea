"""Executor that puts runs into a SLURM queue and waits for their jobs."""

from __future__ import annotations

import logging
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from common.config.executors import SlurmKeys
from common.errors import UserError
from common.plan.run import Plan
from common.process.stopping import StopFlag
from common.runner.scheduling.executor import Executor
from common.runner.scheduling.slurm import commands
from common.runner.scheduling.slurm.adoption import Job, jobs_of_others
from common.runner.scheduling.slurm.array import submit
from common.runner.scheduling.slurm.commands import SlurmError
from common.runner.scheduling.slurm.ending import has_told, is_held, is_lost, settle
from common.runner.scheduling.slurm.job import STOP
from common.runner.scheduling.slurm.parameters import Needs
from common.runner.scheduling.task import Task

log = logging.getLogger(__name__)

_MANY = 10**9
_MOMENT = 0.5  # seconds
_SHORTEST_PAUSE, _LONGEST_PAUSE, _PART = 1.0, 30.0, 0.1
"""Seconds between two looks at the queue, and their part of the time without a change."""
_PAUSE_WHEN_FULL = 60.0
"""Seconds after which SLURM is asked again to take runs, unless a job ends before."""
_GRACE = 10.0
"""Seconds in which a network file system shows what a job wrote before it ended."""
_SECONDS_BETWEEN_STOPS = 5.0


class SlurmQueue(Executor):
    """Executor whose tasks wait and run in a queue, even when this process has ended.

    Tasks are collected until `wait`, and those with equal needs become one array of jobs.
    """

    def __init__(self, plan: Plan, stop: StopFlag, *, detach: bool = False) -> None:
        """Set up; with ``detach``, no job is waited for or cancelled."""
        assert isinstance(plan.document.executor, SlurmKeys)
        self._plan = plan
        self._keys = plan.document.executor
        self._stop = stop
        self._detach = detach
        given = "num_parallel" in plan.document.model_fields_set
        self._most_at_once = plan.document.num_parallel if given else None
        self._collected: list[Sequence[Task]] = []
        self._jobs: dict[str, Job] = {}
        self._changed_at = time.monotonic()
        self._polled_at: float | None = None
        self._stop_sent_at: float | None = None
        self._full_until = 0.0

    @property
    def free_slots(self) -> int:
        """Number of slots among which runs that are made together are shared; never none."""
        most = (self._most_at_once or 1) if self._plan.document.vectorize else _MANY
        return max(1, most - len(self._collected))

    @property
    def is_detached(self) -> bool:
        """True if jobs are left alone: on request, and when the terminal was lost."""
        return self._detach or self._stop.signal == signal.SIGHUP

    def adopt(self, tasks: Iterable[Task]) -> Sequence[Task]:
        """Return the tasks whose jobs another runner has submitted and that have not ended.

        Raises:
            UserError: SLURM does not answer.
        """
        try:
            return self._take_up(tasks)
        except SlurmError as error:
            raise UserError(f"SLURM does not tell which runs are in its queue: {error}") from None

    def _take_up(self, tasks: Iterable[Task]) -> Sequence[Task]:
        own = {job.submission.name for job in self._jobs.values()}
        found = jobs_of_others(self._plan.folder, tasks, own, self._stop)
        self._jobs |= {job.id: job for job in found}
        return [task for job in found for task in job.tasks]

    def start(self, tasks: Sequence[Task]) -> None:
        """Collect the tasks of one job."""
        self._collected.append(tasks)

    def wait(self) -> list[Task]:
        """Submit what was collected; return the tasks whose jobs have ended."""
        if self._stop_sent_at is not None:
            dropped = [task for tasks in self._collected for task in tasks]
            self._collected = []
            self._send_stop()
            return dropped + self._ended()
        self._submit()
        return self._ended()

    def _submit(self) -> None:
        """Submit the collected tasks; what SLURM does not take now waits for a while.

        Raises:
            UserError: SLURM refuses it, and no job is in the queue.
        """
        if not self._collected or (self._jobs and time.monotonic() < self._full_until):
            return
        try:
            self._submit_collected()
        except SlurmError as error:
            if not self._jobs:
                raise UserError(f"SLURM refuses the runs: {error}") from None
            log.warning("SLURM takes no more runs now; they are submitted later: %s", error)
            self._full_until = time.monotonic() + _PAUSE_WHEN_FULL

    def _submit_collected(self) -> None:
        theirs = {task.folder for task in self._take_up(chain.from_iterable(self._collected))}
        left = [[task for task in tasks if task.folder not in theirs] for tasks in self._collected]
        self._collected = [tasks for tasks in left if tasks]
        by_needs: dict[Needs, list[Sequence[Task]]] = defaultdict(list)
        for tasks in self._collected:
            by_needs[Needs.of_task(tasks[0])].append(tasks)
        for needs, groups in by_needs.items():
            for array in _parts(groups, commands.largest_array()):
                submission = submit(self._plan, array, needs, self._most_at_once)
                for job_id, tasks in zip(submission.job_ids(), array, strict=True):
                    self._jobs[job_id] = Job(job_id, tasks, submission)
                    self._collected.remove(tasks)
                self._changed_at = time.monotonic()

    def _ended(self) -> list[Task]:
        """Return the tasks whose jobs have left the queue, after a moment.

        A detached executor does not wait for those that are in the queue.
        """
        ended: list[Task] = []
        while self._jobs and not ended:
            if self._is_due():
                ended = self._poll()
            lacks_word = any(job.gone_since is not None for job in self._jobs.values())
            if ended or not (self.is_detached and lacks_word):
                break
            time.sleep(_MOMENT)
        if self._jobs and not ended and not self.is_detached:
            time.sleep(_MOMENT)
        return ended

    def _is_due(self) -> bool:
        """Return whether to ask SLURM again: the more rarely, the longer nothing has happened."""
        now = time.monotonic()
        pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, _PART * (now - self._changed_at)))
        return self._polled_at is None or now - self._polled_at >= pause

    def _poll(self) -> list[Task]:
        self._polled_at = now = time.monotonic()
        try:
            queue = commands.queue()
        except SlurmError as error:
            log.warning("SLURM does not tell which runs are in its queue: %s", error)
            return []
        ended: list[Task] = []
        for job in list(self._jobs.values()):
            if job.id in queue:
                job.gone_since = None
                continue
            job.gone_since = job.gone_since or now
            untold = [task for task in job.tasks if not self._is_told(task, job)]
            is_late = now - job.gone_since > _GRACE and not any(map(is_held, untold))
            if is_late or not untold:
                ended += self._end(job, untold)
        return ended

    def _is_told(self, task: Task, job: Job) -> bool:
        """Return whether nothing is to be added to what the run's folder tells."""
        is_dropped = self._stop_sent_at is not None and not is_lost(task, job.id, job.submission)
        return is_dropped or has_told(task, job.id)

    def _end(self, job: Job, untold: Sequence[Task]) -> Sequence[Task]:
        """Forget the job, and write down how it ended for the tasks that do not say so."""
        del self._jobs[job.id]
        if untold:
            settle(untold, job.id, job.submission)
        if not any(other.submission is job.submission for other in self._jobs.values()):
            job.submission.close()
        self._full_until = self._changed_at = time.monotonic()
        return job.tasks

    def request_stop(self) -> None:
        """Cancel what waits in the queue, and ask what runs to write a checkpoint and end."""
        if not self.is_detached:
            self._send_stop()

    def _send_stop(self) -> None:
        """Send the request, again and again: a job that starts does not hear it yet."""
        now = time.monotonic()
        if self._stop_sent_at is not None and now - self._stop_sent_at < _SECONDS_BETWEEN_STOPS:
            return
        self._stop_sent_at = now
        self._changed_at = now
        self._tell("--state=PENDING")
        self._tell("--state=RUNNING", f"--signal={STOP.name}")

    def _tell(self, *options: str) -> None:
        try:
            commands.cancel({job.submission.job_id for job in self._jobs.values()
                             if job.submission.job_id}, *options)  # fmt: skip
        except SlurmError as error:
            log.warning("SLURM does not hear that runs shall stop: %s", error)

    def close(self) -> None:
        """Cancel all jobs, unless they are to go on without this process."""
        if self._jobs and not self.is_detached:
            self._tell()


def _parts(groups: Sequence[Sequence[Task]], size: int) -> Iterator[Sequence[Sequence[Task]]]:
    for first in range(0, len(groups), size):
        yield groups[first : first + size]
