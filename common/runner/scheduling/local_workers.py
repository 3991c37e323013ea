"""Makes runs in worker processes of this machine, in one or more slots, each with GPUs if any."""

from __future__ import annotations

import logging
import selectors
from collections.abc import Sequence
from contextlib import suppress

from common.files.no_space import NoSpace
from common.runner.scheduling.executor import ProgressOf
from common.runner.scheduling.task import Task, names
from common.runner.scheduling.worker import STOP
from common.runner.scheduling.worker_group import Team, gpus_of_slots
from common.runner.scheduling.worker_process import WorkerProcess

log = logging.getLogger(__name__)

_LONGEST_WAIT = 0.5  # seconds


class LocalWorkers:
    """An executor with one slot per worker process, or per group of them that shares a run.

    A worker that dies leaves its runs interrupted, with the signal named, and is replaced.
    """

    def __init__(
        self,
        slots: int,
        threads: int,
        gpu_ids: Sequence[int],
        progress: ProgressOf,
        *,
        most_ranks: int = 1,
    ) -> None:
        """``threads`` are those of a process, ``most_ranks`` the processes of the largest run."""
        self._threads = threads
        self._progress = progress
        self._empty = gpus_of_slots(slots, gpu_ids, most_ranks)
        """The GPUs of the slots in which no process has been started."""
        self._idle: list[Team] = []
        self._busy: list[Team] = []
        self._selector = selectors.DefaultSelector()

    @property
    def free_slots(self) -> int:
        """Slots with an idle worker, and slots whose worker has not been started yet."""
        return len(self._idle) + len(self._empty)

    def start(self, tasks: Sequence[Task]) -> None:
        """Gives the tasks to an idle worker, or to new ones."""
        fitting = [team for team in self._idle if team.fits(tasks[0])]
        team = fitting[-1] if fitting else self._new_team(tasks[0])
        self._idle = [other for other in self._idle if other is not team]
        self._busy.append(team)
        team.start(tasks)

    def _new_team(self, task: Task) -> Team:
        if not self._empty:
            self._discard(self._idle.pop())
        team = Team(task, self._empty.pop(0), self._threads)
        for worker in team.workers:
            self._selector.register(worker.output, selectors.EVENT_READ, (team, worker))
        return team

    def wait(self) -> list[Task]:
        """The tasks that have ended, of themselves or with their workers."""
        self._close_idle_gpus()
        ended: list[Task] = []
        for key, _ in self._selector.select(_LONGEST_WAIT):
            team, worker = key.data
            if not team.is_closed:
                ended += self._hear(team, worker)
        for team in [team for team in self._busy if team.has_failed]:
            ended += self._bury(team)
        return ended

    def _close_idle_gpus(self) -> None:
        """Ends idle workers with GPUs: no run was ready for them when their last one had ended.

        An empty CUDA context alone holds hundreds of MB, of a GPU that others may share. A run that
        is ready later waits some seconds for a new worker, which is the lesser evil.
        """
        for team in [team for team in self._idle if team.gpu_ids]:
            self._idle.remove(team)
            self._discard(team)

    def _hear(self, team: Team, worker: WorkerProcess) -> Sequence[Task]:
        """Takes up what a worker says; gives the tasks that have ended."""
        messages = worker.messages()
        if messages is None:
            return self._bury(team, worker)
        for message in messages:
            if "failed" in message:
                team.note_failure(worker, message)
            elif worker is not team.first or not team.tasks:
                continue
            elif "progress" in message:
                self._progress(team.tasks, *message["progress"])
            elif "warning" in message:
                log.warning("%s: %s", names(team.tasks), message["warning"])
            elif "ended" in message:
                return self._release(team)
        return ()

    def _release(self, team: Team) -> Sequence[Task]:
        """Makes the team idle, or replaces it where ranks or a GPU may be left unusable."""
        tasks, failed, several = team.tasks, team.failed_by_itself(), len(team.workers) > 1
        if several and failed:
            lost = team.lost()
            if lost is not None:
                return self._bury(team, lost)
        self._busy.remove(team)
        team.tasks = ()
        if failed and (several or team.gpu_ids):
            self._discard(team)
        else:
            self._idle.append(team)
        return tasks

    def _bury(self, team: Team, lost: WorkerProcess | None = None) -> Sequence[Task]:
        """Takes leave of a team with a dead or failed worker; gives the tasks that it leaves."""
        (self._busy if team.tasks else self._idle).remove(team)
        reason = lost.how_it_ended() if lost else ""
        self._discard(team)
        if lost:
            team.mark_interrupted(reason, lost)
        else:
            team.mark_failed()
        return team.tasks

    def _discard(self, team: Team) -> None:
        for worker in team.workers:
            self._selector.unregister(worker.output)
        team.close()
        self._empty.append(team.gpus_of_slot)

    def request_stop(self) -> None:
        """Asks every busy worker to checkpoint and end its runs."""
        for team in self._busy:
            for worker in team.workers:
                worker.say(STOP)

    def close(self) -> None:
        """Ends all workers at once; runs still under way are marked as interrupted."""
        for team in [*self._busy, *self._idle]:
            team.close()
            with suppress(NoSpace):  # a run whose process is gone counts as interrupted anyway
                team.mark_interrupted("stopped at once")
        self._selector.close()
