"""Checks of a SLURM executor before anything is submitted or written."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence

from common.config.executors import SlurmKeys
from common.errors import Problem
from common.packages import lacking
from common.plan.resources import gpus_needed
from common.plan.run import Plan, Run
from common.process.threads import threads_on_cluster
from common.runner.scheduling.slurm import commands
from common.runner.scheduling.slurm.commands import SlurmError
from common.runner.scheduling.slurm.parameters import OWN, Needs, flags, sbatch_parameters

_GPUS = re.compile(r"\bgpu(?::[a-zA-Z][\w.-]*)?(?::(\d+))?(?=[(,]|$)")
"""One kind of GPU in a ``gres``, with its number."""
_PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")


def problems_of_slurm(plan: Plan, runs: Iterable[Run]) -> list[Problem]:
    """Return the problems of a plan whose runs go into a SLURM queue."""
    keys = plan.document.executor
    if not isinstance(keys, SlurmKeys):
        return []
    lacks = [name for name in _PROGRAMS if shutil.which(name) is None]
    if lacks:
        lack = f"needs SLURM's {', '.join(lacks)}, which this machine lacks"
        instead = "use a login node of the cluster, or --executor local"
        return [Problem(f"{lack}; {instead}", "executor", "slurm")]
    runs = list(runs)
    own = [
        *lacking("submitit", "executor", "slurm"),
        *_problems_of_parameters(keys),
        *_problems_of_gpus(plan, keys, runs),
    ]
    try:
        return own + (_problems_of_place(keys) or list(_refusals(plan, keys, runs)))
    except SlurmError as error:
        return [*own, Problem(f"SLURM does not answer: {error}", "executor", "slurm")]


def _problems_of_parameters(keys: SlurmKeys) -> Iterator[Problem]:
    for name in keys.parameters:
        if name.replace("_", "-") in OWN:
            yield Problem("is set by the program; take it out", f"executor.parameters.{name}",
                          keys.parameters[name])  # fmt: skip


def _problems_of_gpus(plan: Plan, keys: SlurmKeys, runs: Sequence[Run]) -> Iterator[Problem]:
    """Yield the problem of GPUs that are asked for and not used, or the other way round."""
    if keys.gres is None or not runs:
        return
    given = sum(int(count or 1) for count in _GPUS.findall(keys.gres))
    needed = [math.ceil(gpus_needed(run, plan.document.gpu_ids_pool)) for run in runs]
    if given and not any(needed):
        yield Problem("no run uses a GPU; say so by 'gpu_ids_pool': [0] or 'resources.gpus', or "
                      "take it out", "executor.gres", keys.gres)  # fmt: skip
    elif given < max(needed):
        yield Problem(f"a run needs {max(needed)} GPUs, see 'gpus_per_run' and 'resources.gpus'",
                      "executor.gres", keys.gres)  # fmt: skip


def _problems_of_place(keys: SlurmKeys) -> list[Problem]:
    """Return the problems of partition and time limit, which `sbatch` reports late or never."""
    partitions = commands.partitions()
    named = keys.partition or commands.default_partition()
    if named is None:
        known = ", ".join(partitions)
        return [Problem(f"the cluster has no default partition; choose among {known}",
                        "executor.partition", None)]  # fmt: skip
    limits = [partitions[name].most for name in named.split(",") if name in partitions]
    unknown = [name for name in named.split(",") if name not in partitions]
    if unknown:
        known = ", ".join(partitions)
        return [Problem(f"the cluster has no such partition; it has {known}",
                        "executor.partition", keys.partition)]  # fmt: skip
    if keys.time_minutes is not None and keys.time_minutes > max(limits):
        return [Problem(f"partition '{named}' allows at most {max(limits):g} minutes",
                        "executor.time_minutes", keys.time_minutes)]  # fmt: skip
    return []


def _refusals(plan: Plan, keys: SlurmKeys, runs: Iterable[Run]) -> Iterator[Problem]:
    """Yield why SLURM would refuse the jobs of some runs, once for equal needs."""
    first: dict[Needs, Run] = {}
    for run in runs:
        first.setdefault(_needs(plan, run), run)
    for needs, run in first.items():
        why = commands.refusal(flags(sbatch_parameters(keys, needs)))
        if why:
            yield Problem(f"SLURM would refuse a job with {needs}: {why}", "executor", "slurm").at(
                run.where
            )


def _needs(plan: Plan, run: Run) -> Needs:
    threads = threads_on_cluster(plan.document.num_threads, run.resources.cpus, run.num_ranks)
    gpus = gpus_needed(run, plan.document.gpu_ids_pool)
    return Needs.of(run.resources.model_dump(), threads=threads, ranks=run.num_ranks, gpus=gpus)
