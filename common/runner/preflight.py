"""Checks of a plan's runs before the first of them: what they need, and what users should know."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from common.config.executors import LocalKeys, SlurmKeys
from common.custom.hooks import answers, asking
from common.errors import ConfigError, Problem, UserError, once_each
from common.key_paths import assign
from common.machine.devices import gpus_absent, gpus_hidden
from common.plan import vectorize_notices as grouping
from common.plan.custom_experiments import wrong_functions
from common.plan.resources import gpus_of, gpus_on_cluster
from common.plan.run import Plan, Run
from common.registry import import_part
from common.run.status import DONE
from common.runner import memory_check, report
from common.runner.scheduling.executors import problems_of_executor
from common.runner.selection import Selection
from common.runner.source_changes import changes_told, source_changes

log = logging.getLogger(__name__)


def check(plan: Plan, selection: Selection, *, detach: bool = False) -> bool:
    """Refuse runs that cannot be made, and log notices; return whether GPUs are used.

    Raises:
        UserError: a run cannot be made, or ``detach`` is asked for without a queue.
    """
    waiting = selection.not_done
    for line in report.damages_told((run.name, selection.states[run].damage) for run in plan.runs):
        log.warning("%s", line)
    pool = plan.document.gpu_ids_pool
    if detach and not isinstance(plan.document.executor, SlurmKeys):
        raise UserError("--detach: needs runs in a queue, as with --executor slurm")
    use_gpus = _gpus_are_used(plan, waiting)
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


def _gpus_are_used(plan: Plan, runs: Sequence[Run]) -> bool:
    """Return whether ``runs`` are made on GPUs of this machine.

    They are not if it has none at all: then the CPU computes, and a warning says so. Which GPUs
    runs in a cluster get, the cluster decides.

    Raises:
        ConfigError: the machine has GPUs, but not all that are named.
    """
    if not isinstance(plan.document.executor, LocalKeys):
        return False
    named = list(_named(plan, runs))
    absent = gpus_absent(gpu for _, gpu_ids, _ in named for gpu in gpu_ids)
    if absent is None:
        return bool(named)
    found = once_each(
        Problem(absent.message, key, gpu_ids, where)
        for key, gpu_ids, where in named
        if not absent.ids.isdisjoint(gpu_ids)
    )
    if not absent.computes_on_cpu:
        raise ConfigError(plan.source.name, found)
    for problem in found:
        place = f"{problem.where}, " if problem.where else ""
        log.warning("%s%s", place, problem)
    return False


def _named(plan: Plan, runs: Sequence[Run]) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Yield key, value and place of the GPUs that are named for the runs."""
    pool = plan.document.gpu_ids_pool
    if pool and runs:
        yield "gpu_ids_pool", pool, ""
    elif not pool:
        yield from (
            ("gpu_ids", run.config.gpu_ids, run.where) for run in runs if run.config.gpu_ids
        )


def _packages_missing(runs: Iterable[Run]) -> list[Problem]:
    """Return the problems of packages and data that the runs lack, each at its first key."""
    return once_each(
        problem.at(run.where)
        for run in runs
        for problem in answers(Problem, run.experiment, "missing()", run.config.missing)
    )


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
    _gpus_are_used(plan, selection.not_done)
    _refuse(plan, _packages_missing(selection.not_done))


def _preflight(plan: Plan, runs: Sequence[Run]) -> None:
    """Check the functions that make the runs, and their packages and files.

    Raises:
        ConfigError: there are problems; the message has all of them. Files of runs that lack
            packages are not checked.
    """
    _refuse(plan, wrong_functions(runs))
    missing = _packages_missing(runs)
    by_path: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        with asking(run.experiment, "needs_preflight()"):
            if run.config.needs_preflight() and not any(run.config.missing()):
                by_path[run.spec.preflight].append(run)
    found = [
        problem
        for path, own in by_path.items()
        for problem in answers(
            Problem, own[0].experiment, f"preflight '{path}'", partial(import_part(path), own)
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
