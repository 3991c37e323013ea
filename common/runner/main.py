"""Execution of a plan, from its file to its figures and its report."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from common.config.executors import LocalKeys
from common.errors import UserError
from common.files.fsync import make_folder
from common.files.temp_files import beside_path, remove_leftovers
from common.plan.resources import slots_of
from common.plan.run import Plan
from common.process.stopping import StopFlag, StoppedAtOnce
from common.process.supervisor import Ended, working_on
from common.process.threads import threads_of_each
from common.run.folder import PlanFolder, RunFolder
from common.run.status import DONE
from common.runner import report
from common.runner.aftermath import tell_of_loss
from common.runner.pictures import Pictures, draw_figures, write_report
from common.runner.plan_runner import PlanRunner
from common.runner.preflight import check
from common.runner.progress import Display
from common.runner.scheduling.executors import executor_of
from common.runner.scheduling.fork_server import ForkServer
from common.runner.scheduling.memory_room import MemoryRoom
from common.runner.scheduling.warm_start import fork_server
from common.runner.selection import Selection, put_aside, select

log = logging.getLogger(__name__)

EXIT_FAILED = 1


@dataclass(frozen=True)
class Request:
    """Options of the command line in addition to the plan."""

    only: str | None = None
    retry_failed: bool = False
    fresh: bool = False
    fail_fast: bool = False
    quiet: bool = False
    detach: bool = False
    replaces: Ended | None = None
    """Process of the same command that has ended before its time, if there is one."""

    def select(self, plan: Plan) -> Selection:
        """Return the runs to make."""
        return select(
            plan,
            only=self.only,
            retry_failed=self.retry_failed,
            fresh=self.fresh,
            since=self.replaces.program_started if self.replaces else None,
        )


def run_plan(plan: Plan, request: Request, pictures: Pictures) -> int:
    """Make the plan's runs, draw its figures and write its report; return the exit status.

    Raises:
        UserError: a file that a run needs is missing or unfit, or a GPU does not exist or is too
            small; nothing has been written. Or another process makes a run that was to be made
            anew.
    """
    stop = StopFlag()
    selection = request.select(plan)
    waiting = selection.not_done
    asks_for_gpus = bool(plan.document.gpu_ids_pool or any(run.config.gpu_ids for run in waiting))
    _, _, threads = _room(plan, selection, use_gpus=asks_for_gpus)
    with fork_server(plan, waiting, threads) as server:
        # What replaces another process has been checked, and makes no runs on GPUs.
        use_gpus = request.replaces is None and check(plan, selection, detach=request.detach)
        folder = str(plan.folder.path.absolute())
        _make_writable(plan.folder)
        with stop.listening(), working_on(folder):
            try:
                runner = _make_runs(plan, request, use_gpus, server, stop)
                return _tell_end(runner, pictures)
            except StoppedAtOnce:
                log.warning(
                    "stopped at once; run the same command again to resume from the last "
                    "checkpoints"
                )
                return stop.exit_status


def _room(plan: Plan, selection: Selection, *, use_gpus: bool) -> tuple[int, int, int]:
    """Return the number of slots, the processes of the largest run, and the threads of each."""
    most_ranks = max(run.num_ranks for run in selection.to_make)
    slots = slots_of(plan.document, most_ranks, use_gpus=use_gpus)
    return slots, most_ranks, threads_of_each(slots * most_ranks, plan.document.num_threads)


def _make_runs(
    plan: Plan, request: Request, use_gpus: bool, server: ForkServer | None, stop: StopFlag
) -> PlanRunner:
    """Make the runs; return their runner, which knows how they have ended."""
    _clean_up(plan)
    has_failed = request.replaces is not None and tell_of_loss(plan, request.replaces)
    selection = request.select(plan)
    if selection.fresh:
        put_aside(plan, selection.not_done)
    states = [selection.states[run].state for run in selection.to_make]
    display = Display(plan.document.name or plan.source.stem, states, quiet=request.quiet)
    is_local = isinstance(plan.document.executor, LocalKeys)
    slots, most_ranks, threads = _room(plan, selection, use_gpus=use_gpus)
    executor = executor_of(
        plan, stop, display.progress,
        slots=slots, threads=threads, use_gpus=use_gpus, most_ranks=most_ranks,
        server=server, detach=request.detach,
    )  # fmt: skip
    runner = PlanRunner(
        plan, selection, executor, display, stop,
        threads=threads, use_gpus=use_gpus, fail_fast=request.fail_fast,
        has_failed=has_failed,
        room=MemoryRoom(selection.states) if is_local and slots > 1 else None,
    )  # fmt: skip
    try:
        runner.run()
    finally:
        display.close()
    return runner


def _clean_up(plan: Plan) -> None:
    """Remove what killed runners have left of the plan's own files; name damaged records."""
    for folder in (plan.folder.path, plan.folder.figures):
        remove_leftovers(folder)
    for run in plan.runs:
        damage = RunFolder(run.folder).status_damage()
        if damage is not None:
            log.warning("%s; %s counts as waiting", damage, run.name)


def _tell_end(runner: PlanRunner, pictures: Pictures) -> int:
    """Print how the runs have ended; unless stopped, draw figures and report; return the status."""
    plan, selection, stop = runner.plan, runner.selection, runner.stop
    if runner.num_left:
        report.say(report.left_in_queue(runner.num_left))
        return 0 if stop.signal is None else stop.exit_status
    report.say(report.outcome(plan, selection, runner.states))
    if stop.signal is not None:
        log.warning("stopped; run the same command again to resume from the checkpoints")
        return stop.exit_status
    if runner.no_space:
        log.error("stopped, and nothing more was begun: %s", runner.no_space)
        return EXIT_FAILED
    ended = [runner.states[run] for run in selection.to_make]
    all_whole = all(found.state == DONE and found.damage is None for found in ended)
    all_drawn = draw_figures(
        plan, pictures.draw, may_lack_runs=len(selection.to_make) < len(plan.runs)
    )
    write_report(plan, pictures.write_report)
    return 0 if all_whole and all_drawn else EXIT_FAILED


def _make_writable(folder: PlanFolder) -> None:
    """Make the plan's folder.

    Raises:
        UserError: it cannot be made or written to.
    """
    trial = beside_path(folder.plan)
    try:
        make_folder(folder.path)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise UserError(
            f"'outputs_dir': {folder.path} cannot be made or written to ({error.strerror}); choose "
            "another folder"
        ) from None
