"""Choice of the executor that makes a plan's runs, and its checks of the plan."""

from __future__ import annotations

from collections.abc import Collection

from common.config.executors import RayKeys, SlurmKeys
from common.errors import Problem
from common.plan.run import Plan, Run
from common.process.stopping import StopFlag
from common.runner.scheduling.executor import Executor, ProgressOf
from common.runner.scheduling.fork_server import ForkServer
from common.runner.scheduling.in_process import InProcess
from common.runner.scheduling.local_workers import LocalWorkers
from common.runner.scheduling.ray.preflight import problems_of_ray
from common.runner.scheduling.slurm.executor import SlurmQueue
from common.runner.scheduling.slurm.preflight import problems_of_slurm


def problems_of_executor(plan: Plan, runs: Collection[Run]) -> list[Problem]:
    """Return why the executor that the plan names cannot make the runs."""
    return [*problems_of_slurm(plan, runs), *problems_of_ray(plan, runs)]


def executor_of(
    plan: Plan,
    stop: StopFlag,
    progress: ProgressOf,
    *,
    slots: int,
    threads: int,
    use_gpus: bool,
    most_ranks: int,
    server: ForkServer | None = None,
    detach: bool = False,
) -> Executor:
    """Return the executor that the plan names, ready to start tasks."""
    document = plan.document
    if isinstance(document.executor, SlurmKeys):
        return SlurmQueue(plan, stop, detach=detach)
    if isinstance(document.executor, RayKeys):
        from common.runner.scheduling.ray.executor import RayCluster  # imports Ray

        return RayCluster(plan)
    has_limits = any(run.timeout_minutes is not None for run in plan.runs)
    if document.multiprocess or most_ranks > 1 or use_gpus or has_limits:
        pool = document.gpu_ids_pool if use_gpus else ()
        return LocalWorkers(slots, threads, pool, progress, most_ranks=most_ranks, server=server)
    return InProcess(stop, progress)
