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


class RayCluster:
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

    @property
    def is_detached(self) -> bool:
        """False: what runs on the cluster ends with its runner."""
        return False

    def adopt(self, tasks: Iterable[Task]) -> Sequence[Task]:
        """Return no task: what runs on the cluster ends with its runner."""
        return ()

    def start(self, tasks: Sequence[Task]) -> None:
        """Submit the tasks of a slot."""
        needs = Needs.of_task(tasks[0])
        self._tasks[cluster.submit(to_line(tasks), needs, names(tasks))] = tasks

    def wait(self) -> list[Task]:
        """Return the tasks that have ended, by themselves or with their nodes."""
        self._look_at_nodes()
        if not self._tasks:
            return []
        ended = cluster.wait(list(self._tasks), _LONGEST_WAIT)
        return [task for ref in ended for task in self._end(ref)]

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
        """Forget a task that has ended, and write down what its node could not."""
        tasks = self._tasks.pop(ref)
        end = cluster.end_of(ref)
        if end.report is None:
            if self._is_stopping:
                _mark_interrupted(tasks, end.lost)
            else:
                record_loss(tasks, end.lost)
            return tasks
        for warning in end.report.warnings:
            log.warning("%s", warning)
        if end.report.refusal:
            for task in tasks:
                status.end(RunFolder(Path(task.folder)), status.FAILED,
                           reason=end.report.refusal, **task.identity)  # fmt: skip
        return tasks

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
            self._end_those(cluster.wait(list(self._tasks), _MOMENT, for_all=True))
        for ref, tasks in self._tasks.items():
            cluster.kill(ref)
            with suppress(NoSpace):
                _mark_interrupted(tasks, "stopped at once")
        cluster.leave()

    def _end_those(self, refs: Iterable[Ref]) -> None:
        for ref in refs:
            with suppress(NoSpace):  # a run whose process is gone counts as interrupted anyway
                self._end(ref)


def _mark_interrupted(tasks: Iterable[Task], reason: str) -> None:
    """Mark the tasks that are under way as interrupted, in their folders."""
    for task in tasks:
        folder = RunFolder(Path(task.folder))
        if folder.read_status().get("status") == status.RUNNING:
            status.end(folder, status.INTERRUPTED, reason=reason)
