"""Runner: makes the missing runs of a plan, in the order of its stages, whatever fails."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from common.files.no_space import NoSpace, no_space
from common.plan.run import Plan, Run
from common.process.stopping import StopFlag
from common.run import status
from common.run.folder import RunFolder, write_json
from common.run.status import DONE, FAILED, INTERRUPTED, RUNNING, SKIPPED, WAITING
from common.runner.elsewhere import Elsewhere
from common.runner.index import IndexFile
from common.runner.progress import Display
from common.runner.run_state import RunState, read_state
from common.runner.scheduling.executor import Executor
from common.runner.scheduling.memory_room import MemoryRoom
from common.runner.scheduling.run_groups import RunGroups
from common.runner.scheduling.task import Task
from common.runner.selection import Selection
from common.runner.tasks import task_of
from common.runner.waiting_runs import WaitingRuns

log = logging.getLogger(__name__)

_CONTINUATIONS = 1
"""Number of times that a run which was stopped by somebody else, and was not lost, goes on."""


class PlanRunner:
    """Scheduler of the selected runs of one plan."""

    def __init__(
        self,
        plan: Plan,
        selection: Selection,
        executor: Executor,
        display: Display,
        stop: StopFlag,
        *,
        threads: int,
        use_gpus: bool = False,
        fail_fast: bool = False,
        has_failed: bool = False,
        room: MemoryRoom | None = None,
    ) -> None:
        self.plan = plan
        self.selection = selection
        self.executor = executor
        self.display = display
        self.stop = stop
        self.threads = threads
        self.use_gpus = use_gpus
        self.fail_fast = fail_fast
        self.states = selection.states
        self.index = IndexFile(plan, self.states)
        self._by_folder = {str(run.folder.absolute()): run for run in plan.runs}
        waiting = (run for run in selection.to_make if self.states[run].state == WAITING)
        self._waiting = WaitingRuns(waiting, self.states)
        self._groups = RunGroups(plan, self._waiting, self.states, threads=threads)
        self._elsewhere = Elsewhere(
            run for run in selection.to_make if self.states[run].state == RUNNING
        )
        self._running: set[Run] = set()
        self._again = set() if selection.fresh else set(selection.again)
        self._continued: Counter[Run] = Counter()
        self._has_failed = has_failed
        self._is_stop_passed_on = False
        self._room = room
        self.no_space = ""
        """Message about a full disk, empty if there is none; no run starts after it."""
        self.num_left = 0
        """Number of runs that are left in a queue."""

    def run(self) -> None:
        """Make the selected runs; afterwards `states` has the state of all runs.

        Raises:
            StoppedAtOnce: a second Ctrl-C; unfinished runs are marked as interrupted.
        """
        self._tell_of_foreign_rows()
        try:
            # 1. The plan's own files, and the runs that go on from an earlier runner.
            write_json(self.plan.folder.plan, self.plan.effective)
            self._adopt()
            self._write_index(self.index.write)
            # 2. One run after the other, in as many slots as there are.
            while self._running or (self._is_any_left() and self._may_start()):
                self._start_runs()
                has_ended = self._take_ended()
                if self.executor.is_detached and not has_ended:
                    self.num_left = len(self._running)
                    break
                self._pass_stop_on()
                self._write_index(self.index.write_now_and_then)
        except OSError as error:  # not of a run, whose folder tells of what ends it
            full = no_space(error, self.plan.folder.path)
            if full is None:
                raise
            self.no_space = str(full)
        finally:
            # 3. The states as they are in the end, whatever has ended the loop.
            self.executor.close()
            self._write_index(self._write_last_index)

    def _tell_of_foreign_rows(self) -> None:
        """Log that the index on disk lists runs that are not the plan's."""
        num_foreign = self.index.num_foreign_rows()
        if num_foreign:
            log.warning(
                "%s listed %d runs that this plan does not make (another --set, an edited part, "
                "or another plan file of this name): their folders stay, but index.csv and "
                "figures now tell of this plan's runs", self.plan.folder.path, num_foreign,
            )  # fmt: skip

    def _adopt(self) -> None:
        """Take up the runs that an earlier runner has handed over and that go on."""
        handed_over = [*self._waiting.ready(), *self._elsewhere.runs]
        for task in self.executor.adopt(map(self._task, handed_over)):
            run = self._by_folder[task.folder]
            (self._elsewhere.runs if run in self._elsewhere.runs else self._waiting).remove(run)
            self._running.add(run)
            self.states[run] = RunState(RUNNING, lost=self.states[run].lost)

    def _is_any_left(self) -> bool:
        """Return whether a run waits, or is made by another process."""
        return bool(self._waiting or self._elsewhere.runs)

    def _write_last_index(self) -> None:
        """Write the index as the folders are now, with what other runners of the plan have made."""
        self._look_again()
        self.index.write()
        if self._look_again():  # another runner may have written its last one before this one
            self.index.write()

    def _look_again(self) -> bool:
        """Take the present states from the folders; return whether there are new ones."""
        before = dict(self.states)
        for run, known in before.items():
            if known.state in (DONE, SKIPPED):
                continue
            found = read_state(run)
            if found.state == INTERRUPTED and not found.reason:
                found = replace(found, reason=self.no_space)  # there was no room for saying so
            if found.state != SKIPPED:  # what was not begun is as it was, or waits
                self.states[run] = found
        return self.states != before

    def _write_index(self, write: Callable[[], None]) -> None:
        """Write the index.

        If it does not fit on the disk, started runs continue and no new one starts.
        """
        try:
            write()
        except NoSpace as error:
            self.no_space = str(error)

    def _may_start(self) -> bool:
        """Return whether new runs may start.

        After a stop request no new run starts.
        """
        return not (self.stop() or self.no_space or (self._has_failed and self.fail_fast))

    def _start_runs(self) -> None:
        """Start what may start by now, which other processes may have made ready."""
        if self._may_start():
            for run, now in self._elsewhere.ended():
                self._take_from_elsewhere(run, now)
            self._start_what_is_ready()

    def _take_ended(self) -> bool:
        """Wait for runs to end and take up their states; return whether any has ended."""
        ended = self.executor.wait()
        for task in ended:
            self._ended(self._by_folder[task.folder])
        if self._elsewhere.runs and not self._running:
            self._elsewhere.wait()
        return bool(ended)

    def _pass_stop_on(self) -> None:
        """Tell the runs of a stop request, once."""
        if self.stop() and not self._is_stop_passed_on:
            self.executor.request_stop()
            self._is_stop_passed_on = True

    def _start_what_is_ready(self) -> None:
        for run, source in self._waiting.take_blocked():
            self._skip(run, source)
        while self.executor.free_slots and (first := self._waiting.first_ready()) is not None:
            if not self._has_room(first):
                return
            group = self._groups.of(first, self.executor.free_slots)
            self._start([run for run in group if self._is_left(run)])

    def _has_room(self, run: Run) -> bool:
        """Return whether the memory of this machine and its GPUs has room for the run now."""
        if self._room is None:
            return True
        gpus = self.executor.gpus_for(self._task(run)) if self.use_gpus else ()
        return self._room.is_there_for(
            run,
            self._running,
            gpus,
            self.executor.idle_gpus(),
            workers=self.executor.processes(),
        )

    def _is_left(self, run: Run) -> bool:
        """Return whether no other process makes the run, or has ended it, by now."""
        now = read_state(run)
        is_known = run in self._again and now.attempt == self.states[run].attempt
        if now.state not in (RUNNING, DONE, FAILED) or is_known:
            return True
        self._waiting.remove(run)
        self._take_from_elsewhere(run, now)
        return False

    def _take_from_elsewhere(self, run: Run, now: RunState) -> None:
        """Take up a run that another process makes, has ended, or has left unfinished."""
        if now.state == RUNNING:
            self.states[run] = now
            self._elsewhere.runs.append(run)
        elif now.state in (DONE, FAILED):
            self._note(run, now)
            self._has_failed |= now.state == FAILED
        else:
            self.states[run] = replace(now, state=WAITING, reason="")
            self._waiting.put_first(run)

    def _start(self, group: list[Run]) -> None:
        if not group:
            return
        for run in group:
            self._waiting.remove(run)
            self._running.add(run)
            if run in self._again:
                self._again.remove(run)
                status.wait_again(RunFolder(run.folder), self.states[run].attempt)
                self.states[run] = RunState(WAITING)
            self.states[run] = RunState(RUNNING, lost=self.states[run].lost)
        self._write_index(self.index.write_now_and_then)
        tasks = [self._task(run) for run in group]
        if self._room is not None and self.use_gpus:
            self._room.take(group, self.executor.gpus_for(tasks[0]))
        self.executor.start(tasks)

    def _skip(self, run: Run, because_of: Run) -> None:
        reason = f"refers to {because_of.name}, which is {self.states[because_of].state}"
        status.end_from_outside(RunFolder(run.folder), SKIPPED, reason=reason, **run.identity)
        self._note(run, RunState(SKIPPED, reason))

    def _ended(self, run: Run) -> None:
        self._running.discard(run)
        if self._room is not None:
            self._room.leave(run)
        now = read_state(run)
        if now.state == RUNNING:  # it was left to another process
            self._take_from_elsewhere(run, now)
            return
        if now.state == WAITING:  # it had not begun before a stop request
            self.states[run] = now
            self._waiting.put_first(run)
            return
        if self._room is not None:
            self._room.note(run, now)
        if now.no_space:
            self.no_space = now.reason
        if now.state == INTERRUPTED and self._goes_on(run, now):
            log.warning("%s: %s; it is continued", run.name, now.reason)
            self.states[run] = RunState(WAITING, lost=now.lost)
            self._waiting.put_first(run)
            return
        self._note(run, now)
        self._has_failed |= now.state == FAILED

    def _goes_on(self, run: Run, now: RunState) -> bool:
        """Return whether an interrupted run is made further, by this command."""
        if self.stop() or now.no_space or now.is_cancelled:
            return False
        if now.lost > self.states[run].lost:  # and has not failed
            return True
        self._continued[run] += 1
        return self._continued[run] <= _CONTINUATIONS

    def _note(self, run: Run, state: RunState) -> None:
        self.states[run] = state
        self._waiting.note_end(run)
        self.display.ended(run, state)

    def _task(self, run: Run) -> Task:
        return task_of(self.plan, run, threads=self.threads, use_gpus=self.use_gpus)
