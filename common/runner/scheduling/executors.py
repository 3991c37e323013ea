"""Choice of the executor that makes a plan's runs."""

from __future__ import annotations

from common.config.executors import LocalKeys, SlurmKeys
from common.errors import UserError
from common.plan.run import Plan
from common.process.stopping import StopFlag
from common.runner.scheduling.executor import Executor, ProgressOf
from common.runner.scheduling.in_process import InProcess
from common.runner.scheduling.local_workers import LocalWorkers
from common.runner.scheduling.slurm.executor import SlurmQueue


def executor_of(
    plan: Plan,
    stop: StopFlag,
    progress: ProgressOf,
    *,
    slots: int,
    threads: int,
    use_gpus: bool,
    most_ranks: int,
    detach: bool = False,
) -> Executor:
    """Return the executor that the plan names, ready to start tasks."""
    document = plan.document
    if isinstance(document.executor, SlurmKeys):
        return SlurmQueue(plan, stop, detach=detach)
    if not isinstance(document.executor, LocalKeys):
        raise UserError(f"'executor' = '{document.executor.id}': cannot be used here")
    if document.multiprocess or most_ranks > 1 or use_gpus:
        pool = document.gpu_ids_pool if use_gpus else ()
        return LocalWorkers(slots, threads, pool, progress, most_ranks=most_ranks)
    return InProcess(stop, progress)
