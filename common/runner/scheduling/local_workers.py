"""Executor with worker processes of this machine, in one or more slots, with or without GPUs."""

from __future__ import annotations

import logging
import selectors
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from common.files.no_space import NoSpace
from common.runner.scheduling.executor import Executor, ProgressOf
from common.runner.scheduling.fork_server import ForkServer
from common.runner.scheduling.task import Task, names
from common.runner.scheduling.worker_group import WorkerGroup, gpus_of_slots, gpus_used
from common.runner.scheduling.worker_process import WorkerProcess, worker_environment

log = logging.getLogger(__name__)

_LONGEST_WAIT = 0.5  # seconds
_MOMENT = 0.5
"""Seconds in which a process ends after its output has."""


class LocalWorkers(Executor):
    """Executor with one slot per worker process, or per group of workers that shares a run.

    A worker that dies is replaced, and the attempt at its runs is lost.
    """

    def __init__(
        self,
        slots: int,
        threads: int,
        gpu_ids: Sequence[int],
        progress: ProgressOf,
        *,
        most_ranks: int = 1,
        server: ForkServer | None = None,
    ) -> None:
        """Set up the slots.

        ``threads`` is per process, ``most_ranks`` the ranks of the largest run. Workers are started
        from ``server``, or where that has another environment from one that has loaded nothing.
        """
        self._server = server
        self._own_server: ForkServer | None = None
        self._threads = threads
        self._progress = progress
        self._empty = gpus_of_slots(slots, gpu_ids, most_ranks)
        """GPUs of the slots in which no process has been started."""
        self._idle: list[WorkerGroup] = []
        self._busy: list[WorkerGroup] = []
        self._selector = selectors.DefaultSelector()
        self._is_stopping = False

    @property
    def free_slots(self) -> int:
        """Number of slots with an idle worker, or without a started one."""
        return len(self._idle) + len(self._empty)

    def gpus_for(self, task: Task) -> Sequence[int]:
        """Return the GPUs of the workers to which `start` would send the task."""
        group = self._idle_group(task)
        return group.gpu_ids if group else gpus_used(task, self._next_slot())

    def idle_gpus(self) -> Sequence[int]:
        """Return the GPUs of the idle workers, once for each."""
        return [gpu for group in self._idle for gpu in group.gpu_ids]

    def processes(self) -> Sequence[int]:
        """Return the numbers of all workers' processes."""
        groups = [*self._busy, *self._idle]
        return [worker.process.pid for group in groups for worker in group.workers]

    def start(self, tasks: Sequence[Task]) -> None:
        """Send the tasks to an idle worker, or to new ones."""
        group = self._idle_group(tasks[0]) or self._new_group(tasks[0])
        self._idle = [other for other in self._idle if other is not group]
        self._busy.append(group)
        group.start(tasks)

    def _idle_group(self, task: Task) -> WorkerGroup | None:
        fitting = [group for group in self._idle if group.fits(task)]
        return fitting[-1] if fitting else None

    def _next_slot(self) -> Sequence[int]:
        """Return the GPUs of the next slot for a new group: those that the fewest others use."""
        if not self._empty:
            return self._idle[-1].gpus_of_slot
        busy = Counter(gpu for group in self._busy for gpu in group.gpu_ids)
        return min(self._empty, key=lambda gpus: sum(busy[gpu] for gpu in gpus))

    def _new_group(self, task: Task) -> WorkerGroup:
        gpus = self._next_slot()
        if not self._empty:
            self._discard(self._idle.pop())
        self._empty.remove(gpus)
        group = WorkerGroup(task, gpus, self._threads, self._fitting_server())
        for worker in group.workers:
            self._selector.register(worker.output, selectors.EVENT_READ, (group, worker))
        return group

    def _fitting_server(self) -> ForkServer | None:
        """Return the server that starts all workers, so that one interpreter is started for all."""
        environment = worker_environment((), self._threads)
        if self._server is not None and self._server.serves(environment):
            return self._server
        if self._own_server is None and ForkServer.is_possible():
            self._own_server = ForkServer(environment, ())
        return self._own_server

    def wait(self) -> list[Task]:
        """Return the tasks that have ended, by themselves or with their workers."""
        self._close_idle_gpus()
        ended: list[Task] = []
        for key, _ in self._selector.select(_LONGEST_WAIT):
            group, worker = key.data
            if not group.is_closed:
                ended += self._handle_message(group, worker)
        for group in list(self._busy):
            group.check_time()
            if group.has_failed or group.limit.is_ignored:
                ended += self._reap(group)
        for group in [*self._busy, *self._idle]:
            lost = group.gone_unheard()
            if lost is not None:
                ended += self._reap(group, lost)
        return ended

    def _close_idle_gpus(self) -> None:
        """End idle workers with GPUs: no run was ready for them when their last one ended.

        An empty CUDA context holds hundreds of MB of a GPU that others may share. A later run has
        to wait for a new worker to open one.
        """
        for group in [group for group in self._idle if group.gpu_ids]:
            self._idle.remove(group)
            self._discard(group)

    def _handle_message(self, group: WorkerGroup, worker: WorkerProcess) -> Sequence[Task]:
        """Handle a worker's message; return the tasks that have ended."""
        messages = worker.messages()
        if messages is None:
            self._selector.unregister(worker.output)
            return self._reap(group, worker) if worker.is_gone_within(_MOMENT) else ()
        for message in messages:
            if "failed" in message:
                group.record_failure(worker, message)
            elif worker is not group.first or not group.tasks:
                continue
            elif "progress" in message:
                self._progress(group.tasks, *message["progress"])
            elif "warning" in message:
                log.warning("%s: %s", names(group.tasks), message["warning"])
            elif "ended" in message:
                return self._release(group)
        return ()

    def _release(self, group: WorkerGroup) -> Sequence[Task]:
        """Make the group idle, or replace it if ranks or a GPU may be unusable."""
        if group.is_late:
            return self._reap(group)
        tasks, failed, several = group.tasks, group.failed_by_itself(), len(group.workers) > 1
        if several and failed:
            lost = group.lost()
            if lost is not None:
                return self._reap(group, lost)
        self._busy.remove(group)
        group.tasks = ()
        if failed and (several or group.gpu_ids):
            self._discard(group)
        else:
            self._idle.append(group)
        return tasks

    def _reap(self, group: WorkerGroup, lost: WorkerProcess | None = None) -> Sequence[Task]:
        """Remove a group with a dead, failed or late worker; return its tasks."""
        (self._busy if group.tasks else self._idle).remove(group)
        reason = lost.how_it_ended() if lost and not group.is_late else ""
        self._discard(group)
        if group.is_late:
            group.mark_lost(group.limit.reason)
        elif not lost:
            group.mark_failed()
        elif self._is_stopping:
            group.mark_interrupted(reason)
        else:
            group.mark_lost(reason, lost)
        return group.tasks

    def _discard(self, group: WorkerGroup) -> None:
        for worker in group.workers:
            if not worker.is_silent:
                self._selector.unregister(worker.output)
        group.close()
        self._empty.append(group.gpus_of_slot)

    def request_stop(self) -> None:
        """Ask every busy worker to checkpoint and end its runs."""
        self._is_stopping = True
        for group in self._busy:
            group.ask_to_stop()

    def close(self) -> None:
        """Kill all workers; unfinished runs are marked as interrupted."""
        for group in [*self._busy, *self._idle]:
            group.close()
            with suppress(NoSpace):  # a run whose process is gone counts as interrupted anyway
                group.mark_interrupted("stopped at once")
        self._selector.close()
        if self._own_server is not None:
            self._own_server.close()
