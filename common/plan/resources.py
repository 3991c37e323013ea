"""Resources of a plan's runs: whether they can have the configured processes and GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from common.config.executors import LocalKeys
from common.custom.hooks import answers
from common.errors import Problem
from common.plan.document import PlanDocument

if TYPE_CHECKING:
    from common.plan.run import Run


def problems_of_ranks(document: PlanDocument, runs: Iterable[Run]) -> Iterator[Problem]:
    """Yield the problems of ``gpus_per_run``, of the plan or of its configurations."""
    shared = [run for run in runs if run.num_ranks > 1]
    if not shared:
        return
    for run in shared:
        ask = partial(run.config.problems_of_ranks, run.num_ranks)
        problems = answers(Problem, run.experiment, "problems_of_ranks()", ask)
        if not document.gpu_ids_pool:
            problems += _too_few(run)
        yield from (problem.at(run.where) for problem in problems)
    if not isinstance(document.executor, LocalKeys):
        return  # the pool says that GPUs are used; which ones, the cluster decides
    pool, slots = len(document.gpu_ids_pool), document.num_parallel if document.multiprocess else 1
    most = max(run.num_ranks for run in shared)
    if 0 < pool < most * slots:
        at_a_time = f" and 'num_parallel' = {slots}" if slots > 1 else ""
        yield Problem(
            f"{_number(most * slots)} needed, {_number(pool)} in 'gpu_ids_pool'{at_a_time}; name "
            "more GPUs (--gpu_ids), or lower it",
            "gpus_per_run",
            most,
        )


def _too_few(run: Run) -> Iterator[Problem]:
    """Yield the problem of a run that names GPUs, but not one for each of its processes."""
    count = len(run.config.gpu_ids)
    if 0 < count < run.num_ranks:
        yield Problem(
            f"{_number(run.num_ranks)} needed, {_number(count)} in 'gpu_ids'; name more GPUs, or "
            "lower it",
            "gpus_per_run",
            run.num_ranks,
        )


def _number(gpus: int) -> str:
    return f"{gpus} GPU{'s' if gpus > 1 else ''}"


def gpus_needed(run: Run, pool: Sequence[int]) -> float:
    """Return the number of GPUs, or the share of one, that a run needs on a cluster.

    What the run or the pool names tells whether it uses GPUs, and which ones the cluster decides.
    """
    gpus = gpus_of(run, pool)
    each = run.resources.gpus
    if each is None:
        each = max(1, len(gpus) // run.num_ranks) if gpus else 0
    return each * run.num_ranks


def gpus_of(run: Run, pool: Sequence[int]) -> tuple[int, ...]:
    """Return the GPUs that a run names; a plan's pool fills in the first of its own instead."""
    return tuple(pool[: run.num_ranks]) if pool else run.config.gpu_ids
