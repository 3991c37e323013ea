"""Execution of a plan, from its file to its figures and its report."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial

from common.config.executors import LocalKeys, SlurmKeys
from common.custom.hooks import answers, asking
from common.errors import ConfigError, Problem, UserError
from common.files.fsync import make_folder
from common.files.temp_files import beside_path, remove_leftovers
from common.key_paths import assign
from common.machine.devices import gpus_hidden
from common.plan import vectorize_notices as grouping
from common.plan.custom_experiments import wrong_functions
from common.plan.resources import gpus_of, gpus_on_cluster, slots_of
from common.plan.run import Plan, Run
from common.process.stopping import StopFlag, StoppedAtOnce
from common.process.supervisor import Ended, working_on
from common.process.threads import threads_of_each
from common.registry import import_part
from common.run.folder import PlanFolder, RunFolder
from common.run.status import DONE
from common.runner import memory_check, report
from common.runner.aftermath import tell_of_loss
from common.runner.machine_check import gpus_are_used, packages_missing
from common.runner.pictures import Pictures, draw_figures, write_report
from common.runner.plan_runner import PlanRunner
from common.runner.progress import Display
from common.runner.scheduling.executors import executor_of, problems_of_executor
from common.runner.scheduling.fork_server import ForkServer
from common.runner.scheduling.memory_room import MemoryRoom
from common.runner.scheduling.warm_start import fork_server
from common.runner.selection import Selection, put_aside, select
from common.runner.source_changes import changes_told, source_changes

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
    waiting = [run for run in selection.to_make if selection.states[run].state != DONE]
    asks_for_gpus = bool(plan.document.gpu_ids_pool or any(run.config.gpu_ids for run in waiting))
    _, _, threads = _room(plan, selection, use_gpus=asks_for_gpus)
    with fork_server(plan, waiting, threads) as server:
        # What replaces another process has been checked, and makes no runs on GPUs.
        use_gpus = request.replaces is None and _check(plan, request, selection, waiting)
        folder = str(plan.folder.path.absolute())
        _make_writable(plan.folder)
        with stop.listening(), working_on(folder):
            try:
                return _make_runs(plan, request, use_gpus, server, stop, pictures)
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


def _check(plan: Plan, request: Request, selection: Selection, waiting: list[Run]) -> bool:
    """Refuse runs that cannot be made, and log notices; return whether GPUs are used."""
    for line in report.damages_told((run.name, selection.states[run].damage) for run in plan.runs):
        log.warning("%s", line)
    pool = plan.document.gpu_ids_pool
    if request.detach and not isinstance(plan.document.executor, SlurmKeys):
        raise UserError("--detach: needs runs in a queue, as with --executor slurm")
    use_gpus = gpus_are_used(plan, waiting)
    is_local = isinstance(plan.document.executor, LocalKeys)

    def gpus(run: Run) -> tuple[int, ...]:
        if not is_local:
            return gpus_on_cluster(run, pool)
        return gpus_of(run, pool) if use_gpus else ()

    with gpus_hidden():
        _preflight(plan, [_as_made(run, selection, gpus(run)) for run in waiting])
    _refuse(plan, problems_of_executor(plan, waiting))
    if use_gpus:
        _refuse(plan, memory_check.check(plan, waiting))
    tell_notices(plan)
    if plan.document.vectorize:
        for notice in grouping.notices(waiting):
            log.warning("%s", notice)
    for change in changes_told(source_changes(waiting).values()):
        log.warning("%s", change)
    return use_gpus


def _make_runs(
    plan: Plan,
    request: Request,
    use_gpus: bool,
    server: ForkServer | None,
    stop: StopFlag,
    pictures: Pictures,
) -> int:
    for folder in (plan.folder.path, plan.folder.figures):
        remove_leftovers(folder)
    for run in plan.runs:
        damage = RunFolder(run.folder).status_damage()
        if damage is not None:
            log.warning("%s; %s counts as waiting", damage, run.name)
    has_failed = request.replaces is not None and tell_of_loss(plan, request.replaces)
    selection = request.select(plan)
    if selection.fresh:
        waiting = [run for run in selection.to_make if selection.states[run].state != DONE]
        put_aside(plan, waiting)
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
    all_done = all(runner.states[run].state == DONE for run in selection.to_make)
    all_whole = all(runner.states[run].damage is None for run in selection.to_make)
    all_drawn = draw_figures(
        plan, pictures.draw, may_lack_runs=len(selection.to_make) < len(plan.runs)
    )
    write_report(plan, pictures.write_report)
    return 0 if all_done and all_whole and all_drawn else EXIT_FAILED


def tell_notices(plan: Plan) -> None:
    """Log what users should know of valid keys, each notice once for all runs."""
    notices = [
        notice
        for run in plan.runs
        for notice in answers(str, run.experiment, "notices()", run.config.notices)
    ]
    for notice in dict.fromkeys(notices):
        log.warning("%s", notice)


def look_at_machine(plan: Plan, selection: Selection) -> None:
    """Check for the GPUs, and for the packages with their data, that the runs to make need.

    Raises:
        ConfigError: some are missing; the message has all GPUs, or all packages.
    """
    waiting = [run for run in selection.to_make if selection.states[run].state != DONE]
    gpus_are_used(plan, waiting)
    _refuse(plan, packages_missing(waiting))


def _preflight(plan: Plan, runs: list[Run]) -> None:
    """Check the functions that make the runs, and their packages and files.

    Raises:
        ConfigError: there are problems; the message has all of them. Files of runs that lack
            packages are not checked.
    """
    _refuse(plan, wrong_functions(runs))
    missing = packages_missing(runs)
    by_check: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        with asking(run.experiment, "needs_preflight()"):
            if run.config.needs_preflight() and not any(run.config.missing()):
                by_check[run.spec.preflight].append(run)
    found = [
        problem
        for check, own in by_check.items()
        for problem in answers(
            Problem, own[0].experiment, f"preflight '{check}'", partial(import_part(check), own)
        )
    ]
    _refuse(plan, missing + found)


def _refuse(plan: Plan, problems: list[Problem]) -> None:
    """End the plan before its first run if there are problems."""
    if problems:
        raise ConfigError(plan.source.name, problems)


def _as_made(run: Run, selection: Selection, gpu_ids: tuple[int, ...]) -> Run:
    """Return the run with its GPUs and with the files of stages that are done.

    It keeps the other references.
    """
    done = [source for source in run.references if selection.states[source.run].state == DONE]
    config = run.config
    if done:
        values = config.model_dump(mode="json")
        for reference in done:
            assign(values, reference.key, str(reference.target))
        config = type(config).model_validate(values)
    left = [reference for reference in run.references if reference not in done]
    return replace(
        run, config=config.model_copy(update={"gpu_ids": tuple(gpu_ids)}), references=left
    )


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
