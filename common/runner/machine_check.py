"""Preflight check that this machine has the GPUs, the packages and the data that runs need."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from common.config.executors import LocalKeys
from common.custom.hooks import answers
from common.errors import ConfigError, Problem, once_each
from common.machine.devices import gpus_absent
from common.plan.run import Plan, Run

log = logging.getLogger(__name__)


def gpus_are_used(plan: Plan, runs: Sequence[Run]) -> bool:
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


def packages_missing(runs: Iterable[Run]) -> list[Problem]:
    """Return the problems of packages and data that the runs lack, each at its first key."""
    return once_each(
        problem.at(run.where)
        for run in runs
        for problem in answers(Problem, run.experiment, "missing()", run.config.missing)
    )
