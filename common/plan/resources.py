"""Resources of a plan's runs: whether they can have the configured processes and GPUs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from common.config.executors import LocalKeys
from common.custom.hooks import answers
from common.errors import Problem
from common.plan.document import PlanDocument

if TYPE_CHECKING:
    from common.plan.run import Run


def problems_of_gpus(document: PlanDocument, runs: Iterable[Run]) -> Iterator[Problem]:
    """Yield the problems of runs that share GPUs, or of GPUs that share a run."""
    runs = list(runs)
    yield from _problems_of_slots(document, runs)
    shared = [run for run in runs if run.num_ranks > 1]
    for run in shared:
        ask = partial(run.config.problems_of_ranks, run.num_ranks)
        problems = answers(Problem, run.experiment, "problems_of_ranks()", ask)
        if not document.gpu_ids_pool:
            problems += _too_few(run)
        yield from (problem.at(run.where) for problem in problems)


def _problems_of_slots(document: PlanDocument, runs: Sequence[Run]) -> Iterator[Problem]:
    """Yield the problem of more runs at a time than may share the GPUs of the pool."""
    if not isinstance(document.executor, LocalKeys):
        return  # the pool says that GPUs are used; which ones, the cluster decides
    pool, most = len(document.gpu_ids_pool), max((run.num_ranks for run in runs), default=1)
    slots, shares = slots_of(document, most), document.runs_per_gpu
    needed = most * -(-slots // shares)
    if pool == 0 or needed <= pool:
        return
    if most > 1:
        at_a_time = f" and 'num_parallel' = {slots}" if slots > 1 else ""
        yield Problem(
            f"{_number(needed)} needed, {_number(pool)} in 'gpu_ids_pool'{at_a_time}; name "
            "more GPUs (--gpu_ids), or lower it",
            "gpus_per_run",
            most,
        )
    elif "runs_per_gpu" in document.model_fields_set:
        yield Problem(
            f"{_number(pool)} in 'gpu_ids_pool' with 'runs_per_gpu' = {shares} have room for "
            f"{pool * shares} runs; lower it, or leave it out",
            "num_parallel",
            slots,
        )


def slots_of(document: PlanDocument, most_ranks: int, *, use_gpus: bool = True) -> int:
    """Return the number of runs that are made at the same time on this machine.

    Without ``num_parallel`` a pool's GPUs, if they are used, have ``runs_per_gpu`` each.
    """
    pool = document.gpu_ids_pool if use_gpus else ()
    if pool and "num_parallel" not in document.model_fields_set:
        return max(1, len(pool) // most_ranks * document.runs_per_gpu)
    return document.num_parallel if document.multiprocess else 1


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


def gpus_on_cluster(run: Run, pool: Sequence[int]) -> tuple[int, ...]:
    """Return the GPUs of a run on a cluster as it counts them itself, from 0."""
    return tuple(range(math.ceil(gpus_needed(run, pool))))


def gpus_of(run: Run, pool: Sequence[int]) -> tuple[int, ...]:
    """Return the GPUs that a run names; a plan's pool fills in the first of its own instead."""
    return tuple(pool[: run.num_ranks]) if pool else run.config.gpu_ids
