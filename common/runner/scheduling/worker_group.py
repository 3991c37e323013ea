"""Worker group: the worker processes of a slot, one per rank of its run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.run import status
from common.run.folder import RunFolder
from common.runner.scheduling.fork_server import ForkServer
from common.runner.scheduling.lost_attempts import record_loss
from common.runner.scheduling.task import Task
from common.runner.scheduling.time_limit import TimeLimit
from common.runner.scheduling.worker import STOP
from common.runner.scheduling.worker_process import WorkerProcess

_GRACE = 3.0
"""Seconds in which the first rank can report the failure of another one itself."""
_SECONDS_TO_BE_GONE = 2.0
"""Seconds in which a process ends after others have noticed its failure, on a busy machine."""
_BETWEEN_LOOKS = 0.02


class WorkerGroup:
    """Workers, one per rank, which are reused for run after run as long as none fails."""

    def __init__(
        self,
        task: Task,
        gpus_of_slot: Sequence[int],
        threads: int,
        server: ForkServer | None = None,
    ) -> None:
        """Start the workers for the task and similar ones, from ``server`` where it can.

        They use the GPUs of the slot or, if it has none, those that the task names.
        """
        self.gpus_of_slot = gpus_of_slot
        self._gpus_of_workers = _gpus_of_workers(task, gpus_of_slot)
        self.tasks: Sequence[Task] = ()
        self.is_closed = False
        self.limit = TimeLimit(())
        self.is_late = False
        """True if the tasks have been asked to end at their time limit."""
        self.workers = [
            WorkerProcess(gpu_ids, threads, server) for gpu_ids in self._gpus_of_workers
        ]
        self._num_started = 0
        self._failure: tuple[float, str, dict[str, Any]] | None = None
        self._meeting = tempfile.TemporaryDirectory(prefix="ranks-") if task.num_ranks > 1 else None

    @property
    def gpu_ids(self) -> list[int]:
        """GPUs of all its processes, as the plan counts them."""
        return [gpu for gpu_ids in self._gpus_of_workers for gpu in gpu_ids]

    def fits(self, task: Task) -> bool:
        """Return whether it has as many processes as the task needs, which see its GPUs alone."""
        return self._gpus_of_workers == _gpus_of_workers(task, self.gpus_of_slot)

    @property
    def first(self) -> WorkerProcess:
        """Worker that writes the run's folder and reports for all."""
        return self.workers[0]

    def start(self, tasks: Sequence[Task]) -> None:
        """Make each worker make its part of the tasks."""
        self.tasks = tasks
        self.limit = TimeLimit(tasks)
        self._num_started += 1
        for rank, worker in enumerate(self.workers):
            worker.give([self._part(task, rank) for task in tasks])

    def _part(self, task: Task, rank: int) -> Task:
        """Return the task for one rank, with its visible GPUs.

        The task's keys name those of all.
        """
        if self._meeting is not None:
            task = replace(task, rank=rank, rendezvous=self._rendezvous())
        if self.gpu_ids:
            config = {**task.config, "gpu_ids": self.gpu_ids}
            task = replace(task, config=config, gpu_ids=self._gpus_of_workers[rank])
        return task

    def _rendezvous(self) -> str:
        """Return the meeting point of the ranks of the present run, the path of a file."""
        assert self._meeting is not None
        return str(Path(self._meeting.name) / str(self._num_started))

    def record_failure(self, worker: WorkerProcess, message: dict[str, Any]) -> None:
        """Note that a rank has failed; the others wait for it without success and end soon."""
        if self._failure is None and message["rendezvous"] == self._rendezvous():
            self._failure = time.monotonic() + _GRACE, self._called(worker), message

    @property
    def has_failed(self) -> bool:
        """True if a rank has failed, and the first one had time to report it itself."""
        return self._failure is not None and time.monotonic() > self._failure[0]

    def lost(self) -> WorkerProcess | None:
        """Return a dead worker that may have caused the first rank's failure."""
        deadline = time.monotonic() + _SECONDS_TO_BE_GONE
        while time.monotonic() < deadline:
            for worker in self.workers[1:]:
                if worker.is_gone_within(0.0):
                    return worker
            time.sleep(_BETWEEN_LOOKS)
        return None

    def gone_unheard(self) -> WorkerProcess | None:
        """Return a dead worker whose output does not tell that."""
        return next((worker for worker in self.workers if worker.has_gone_unheard()), None)

    def ask_to_stop(self) -> None:
        """Ask all workers to write a checkpoint and end the tasks."""
        for worker in self.workers:
            worker.say(STOP)

    def check_time(self) -> None:
        """Ask the workers once to stop, when the tasks have reached their time limit."""
        if self.limit.is_over() and not self.is_late:
            self.is_late = True
            self.ask_to_stop()

    def mark_failed(self) -> None:
        """Record in the tasks' folders why a rank has failed, and close the group."""
        assert self._failure is not None
        _, name, message = self._failure
        reason = f"{name}{message['failed']}"
        for folder in self._folders():
            status.end_from_outside(
                folder, status.FAILED, reason=reason, traceback=message["traceback"]
            )

    def mark_lost(self, reason: str, worker: WorkerProcess | None = None) -> None:
        """Count the attempt as lost, in the folders of tasks that have not ended.

        ``worker`` caused it; messages of other ranks about its loss are ignored.
        """
        name = self._called(worker) if worker else ""
        record_loss(self.tasks, f"{name}{reason}", of_another_rank=len(self.workers) > 1)

    def mark_interrupted(self, reason: str) -> None:
        """Mark the tasks that are under way as interrupted, in their folders.

        What the first of several ranks says of the others' end is ignored.
        """
        under_way = {status.RUNNING} if len(self.workers) == 1 else {status.RUNNING, status.FAILED}
        for folder in self._folders():
            if folder.read_status().get("status") in under_way:
                status.end_from_outside(folder, status.INTERRUPTED, reason=reason)

    def failed_by_itself(self) -> bool:
        """Return whether one of its tasks has failed."""
        return any(f.read_status().get("status") == status.FAILED for f in self._folders())

    def _folders(self) -> list[RunFolder]:
        return [RunFolder(Path(task.folder)) for task in self.tasks]

    def _called(self, worker: WorkerProcess) -> str:
        several = len(self.workers) > 1
        return f"rank {self.workers.index(worker)}: " if several else ""

    def close(self) -> None:
        """Kill all its processes."""
        self.is_closed = True
        for worker in self.workers:
            worker.close()
        if self._meeting is not None:
            self._meeting.cleanup()


def _gpus_of_workers(task: Task, gpus_of_slot: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the GPUs that each process of a task sees.

    Each process gets one of the slot's GPUs; the only process of a task gets all that it names.
    """
    found = tuple(gpus_of_slot) or task.gpu_ids
    if task.num_ranks == 1 and not gpus_of_slot:
        return [found]
    return [found[rank : rank + 1] for rank in range(task.num_ranks)]


def gpus_used(task: Task, gpus_of_slot: Sequence[int]) -> list[int]:
    """Return the GPUs of a task in a slot, of all its processes."""
    return [gpu for gpu_ids in _gpus_of_workers(task, gpus_of_slot) for gpu in gpu_ids]


def gpus_of_slots(slots: int, gpu_ids: Sequence[int], most_ranks: int) -> list[Sequence[int]]:
    """Return the GPUs of each slot: as many as a run has ranks.

    Slots share GPUs if there are too few.
    """
    if not gpu_ids:
        return [()] * slots
    groups = [
        gpu_ids[first : first + most_ranks]
        for first in range(0, len(gpu_ids) - most_ranks + 1, most_ranks)
    ]
    return [groups[slot % len(groups)] for slot in range(slots)]
