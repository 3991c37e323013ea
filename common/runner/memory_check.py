"""Preflight check that a plan's runs fit into the memory of their GPUs."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from common.custom.hooks import asking
from common.errors import Problem
from common.key_paths import value_at
from common.machine.devices import gpus_hidden
from common.machine.gpu_memory import total_memory
from common.machine.memory import Moment, Need, Term
from common.plan.resources import slots_of
from common.plan.vectorize_notices import vectorize_key, why_alone
from common.registry import import_part
from common.runner.scheduling.run_groups import LARGEST_GROUP

if TYPE_CHECKING:
    from common.plan.run import Plan, Run


log = logging.getLogger(__name__)


_GIBI = 2**30


_MOST_TERMS = 4
"""Number of terms in a message, the largest first."""


def check(plan: Plan, runs: Iterable[Run]) -> list[Problem]:
    """Return the problems of runs that fit no GPU of theirs; warn of those that may be too large.

    Only runs are checked whose GPUs' memory is known, and whose experiment has an estimate.
    """
    pool = plan.document.gpu_ids_pool
    on_gpus = [run for run in runs if pool or run.config.gpu_ids]
    memory = total_memory(gpu for run in on_gpus for gpu in pool or run.config.gpu_ids)
    known = [run for run in on_gpus if memory.keys() >= set(pool or run.config.gpu_ids)]
    with gpus_hidden():
        needs = _needs(plan, known)
    problems = []
    worst: dict[str, Moment] = {}
    for run, need in needs.items():
        gpus = {gpu: memory[gpu] for gpu in pool or run.config.gpu_ids}
        least, most = max(need, key=lambda m: m.least), max(need, key=lambda m: m.size)
        if least.least > max(gpus.values()):
            problems.append(_too_large(run, least, gpus))
        elif most.size > min(gpus.values()) and run.where not in worst:
            worst[run.where] = most
            log.warning("%s", _may_be_too_large(run, most, gpus))
    if not problems and not worst:
        _warn_of_sharing(plan, needs, memory)
    return problems


def _needs(plan: Plan, runs: Sequence[Run]) -> dict[Run, Need]:
    """Return the needs of the runs, if known; runs trained together have their joint need."""
    by_function: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.spec.memory is not None:
            by_function[run.spec.memory].append(run)
    sizes = _group_sizes(plan, runs)
    found: dict[Run, Need] = {}
    for function, own in by_function.items():
        with asking(own[0].experiment, f"memory '{function}'"):
            for run, need in zip(own, import_part(function)(own), strict=True):
                if need:
                    found[run] = [moment.times(sizes.get(run, 1)) for moment in need]
    return found


def _group_sizes(plan: Plan, runs: Iterable[Run]) -> dict[Run, int]:
    """Return the number of runs trained in one process, for runs that are not made alone."""
    if not plan.document.vectorize:
        return {}
    keys: dict[Run, Hashable] = {
        run: (run.spec.run_together, vectorize_key(run)) for run in runs if why_alone(run) is None
    }
    counts, slots = Counter(keys.values()), _slots(plan)
    return {run: min(-(-counts[key] // slots), LARGEST_GROUP) for run, key in keys.items()}


def _slots(plan: Plan) -> int:
    return slots_of(plan.document, max(run.num_ranks for run in plan.runs))


def _too_large(run: Run, moment: Moment, gpus: Mapping[int, int]) -> Problem:
    """Return the problem of a lower bound above the memory of the largest GPU."""
    terms = sorted(moment.terms, key=lambda term: -term.least)
    gpu = max(gpus, key=gpus.__getitem__)
    key = terms[0].key
    return Problem(
        f"{moment.name} needs at least {_gib(moment.least)} GiB "
        f"({_listed({term.name: term.least for term in terms})}), and GPU {gpu} has "
        f"{_gib(gpus[gpu])}; {_advice(terms)}",
        key,
        value_at(run.config.model_dump(mode="json"), key),
        run.where,
    )


def _may_be_too_large(run: Run, moment: Moment, gpus: Mapping[int, int]) -> str:
    """Return the warning of an estimate above the memory of the smallest GPU."""
    terms = sorted(moment.terms, key=lambda term: -term.size)
    gpu = min(gpus, key=gpus.__getitem__)
    return (
        f"{run.where}: {run.name} may need up to {_gib(moment.size)} GiB for {moment.name} "
        f"({_listed({term.name: term.size for term in terms})}), and GPU {gpu} has "
        f"{_gib(gpus[gpu])}; if it runs out of memory, {_advice(terms)}"
    )


def _warn_of_sharing(plan: Plan, needs: Mapping[Run, Need], memory: Mapping[int, int]) -> None:
    """Warn of slots on one GPU that may together need more memory than it has."""
    pool, slots = plan.document.gpu_ids_pool, _slots(plan)
    if not needs or slots <= len(pool):
        return
    by_gpu: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for run, need in needs.items():
        by_gpu[() if pool else run.config.gpu_ids].append(max(m.size for m in need))
    for ids, sizes in by_gpu.items():
        gpu = min(ids or pool, key=memory.__getitem__)
        on_one = slots if ids else -(-slots // len(pool))
        together = sorted(sizes, reverse=True)[:on_one]
        if sum(together) > memory[gpu]:
            log.warning(
                "%d runs at a time on GPU %d may need up to %s GiB together, and it has %s; if "
                "they run out of memory, lower 'num_parallel'",
                len(together), gpu, _gib(sum(together)), _gib(memory[gpu]),
            )  # fmt: skip


def _advice(terms: Sequence[Term]) -> str:
    advice = dict.fromkeys(term.advice for term in terms if term.advice)
    return ", or ".join(list(advice)[:_MOST_TERMS])


def _listed(sizes: Mapping[str, int]) -> str:
    shown = [f"{name} {_gib(size)}" for name, size in list(sizes.items())[:_MOST_TERMS] if size]
    return ", ".join(shown)


def _gib(size: int) -> str:
    """Return bytes in units of 2^30, as whole numbers from ten up."""
    return f"{size / _GIBI:.0f}" if size >= 10 * _GIBI else f"{size / _GIBI:.1f}"
