"""Executor that makes runs as tasks of a Ray cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from common.config.executors import RayKeys
from common.files.no_space import NoSpace
from common.plan.run import Plan
from common.run import status
from common.run.folder import RunFolder
from common.run.lease_files import holder
from common.runner.scheduling.executor import Executor
from common.runner.scheduling.lost_attempts import record_loss
from common.runner.scheduling.ray import cluster
from common.runner.scheduling.ray.cluster import Ref
from common.runner.scheduling.ray.needs import Needs, nodes_told
from common.runner.scheduling.task import Task, names, to_line

log = logging.getLogger(__name__)

_LONGEST_WAIT = 0.5  # seconds
_SECONDS_BETWEEN_LOOKS = 5.0
"""Seconds between two looks at the cluster's nodes."""
_GRACE, _MOMENT = 4.0, 0.5
"""Seconds in which tasks end that are told to, and between two requests."""


class RayCluster(Executor):
    """Executor that hands each attempt to Ray, which finds a node for it.

    A node or a Ray worker that is lost is an attempt that is lost. Tasks end with this process.
    """

    def __init__(self, plan: Plan) -> None:
        """Set up; this process uses the cluster already, as the plan was checked against it."""
        document = plan.document
        assert isinstance(document.executor, RayKeys)
        cluster.connect(document.executor.address)
        given = "num_parallel" in document.model_fields_set
        self._most_at_once = document.num_parallel if given else None
        self._tasks: dict[Ref, Sequence[Task]] = {}
        self._lost: list[tuple[Sequence[Task], str]] = []
        """Tasks that have ended without a report, and why."""
        self._nodes = cluster.nodes()
        self._looked_at = time.monotonic()
        self._is_short = False
        self._is_stopping = False

    @property
    def free_slots(self) -> int:
        """Number of tasks that may be submitted: as many as given, or as the cluster has cores."""
        cores = int(sum(node.totals.get("CPU", 0) for node in self._nodes))
        most = self._most_at_once or max(1, cores)
        return max(0, most - len(self._tasks))

    def start(self, tasks: Sequence[Task]) -> None:
        """Submit the tasks of a slot."""
        needs = Needs.of_task(tasks[0])
        self._tasks[cluster.submit(to_line(tasks), needs, names(tasks))] = tasks

    def wait(self) -> list[Task]:
        """Return the tasks that have ended, by themselves or with their nodes."""
        self._look_at_nodes()
        if self._tasks:
            refs = cluster.wait(list(self._tasks), _LONGEST_WAIT)
            ended = [task for ref in refs for task in self._end(ref)]
        else:
            time.sleep(_LONGEST_WAIT)
            ended = []
        return ended + self._settle()

    def _look_at_nodes(self) -> None:
        """Note nodes that have come or gone; warn once while no node can make what is submitted."""
        if time.monotonic() - self._looked_at < _SECONDS_BETWEEN_LOOKS:
            return
        self._looked_at = time.monotonic()
        self._nodes = cluster.nodes()
        lacking = [
            tasks
            for tasks in self._tasks.values()
            if not any(Needs.of_task(tasks[0]).fit(node.totals) for node in self._nodes)
        ]
        if lacking and not self._is_short:
            log.warning(
                "%s needs %s and waits for a node that has that; the cluster has: %s",
                names(lacking[0]), Needs.of_task(lacking[0][0]), nodes_told(self._nodes),
            )  # fmt: skip
        self._is_short = bool(lacking)

    def _end(self, ref: Ref) -> Sequence[Task]:
        """Forget a task that has ended; return its runs' tasks, unless they were lost."""
        tasks = self._tasks.pop(ref)
        end = cluster.end_of(ref)
        if end.report is None:
            self._lost.append((tasks, end.lost))
            return ()
        for warning in end.report.warnings:
            log.warning("%s", warning)
        if end.report.refusal:
            _mark(tasks, status.FAILED, end.report.refusal)
        return tasks

    def _settle(self) -> list[Task]:
        """Record losses, and return their tasks.

        A process that outlives its Ray worker for a moment still holds its run's lease, and that of
        a lost node holds it until it expires. After a stop request nobody waits for that.
        """
        settled: list[Task] = []
        for lost in list(self._lost):
            tasks, reason = lost
            if self._is_stopping:
                _mark(_under_way(tasks), status.INTERRUPTED, reason)
            elif any(holder(Path(task.folder)) for task in tasks):
                continue
            else:
                record_loss(tasks, reason)
            self._lost.remove(lost)
            settled += tasks
        return settled

    def request_stop(self) -> None:
        """Take what waits out of the queue, and ask what runs to write a checkpoint and end."""
        self._is_stopping = True
        for ref in self._tasks:
            cluster.ask_to_stop(ref)

    def close(self) -> None:
        """Kill all tasks, and leave the cluster."""
        self._is_stopping = True
        deadline = time.monotonic() + _GRACE
        while self._tasks and time.monotonic() < deadline:
            for ref in self._tasks:
                cluster.ask_to_stop(ref)  # and at once, at the second time
            for ref in cluster.wait(list(self._tasks), _MOMENT, for_all=True):
                self._end(ref)
        for ref, tasks in self._tasks.items():
            cluster.kill(ref)
            self._lost.append((tasks, "stopped at once"))
        with suppress(NoSpace):  # a run whose process is gone counts as interrupted anyway
            self._settle()
        cluster.leave()


def _under_way(tasks: Iterable[Task]) -> list[Task]:
    return [task for task in tasks if _status(task) == status.RUNNING]


def _status(task: Task) -> str | None:
    return RunFolder(Path(task.folder)).read_status().get("status")


def _mark(tasks: Iterable[Task], state: str, reason: str) -> None:
    """Record how runs have ended that no process makes any more."""
    for task in tasks:
        folder = RunFolder(Path(task.folder))
        status.end_from_outside(folder, state, reason=reason, **task.identity)
