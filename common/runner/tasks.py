"""Tasks that executors make of a plan's runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from common.config.executors import LocalKeys
from common.key_paths import assign
from common.plan.resources import gpus_of, gpus_on_cluster
from common.plan.run import Plan, Run
from common.process.threads import threads_on_cluster
from common.runner.scheduling.task import Task


def task_of(plan: Plan, run: Run, *, threads: int, use_gpus: bool) -> Task:
    """Return the task of a run.

    ``threads`` and ``use_gpus`` are those of this machine; a cluster's nodes have their own.
    """
    config = run.config.model_dump(mode="json")
    for reference in run.references:
        assign(config, reference.key, str(reference.target))
    document = plan.document
    if isinstance(document.executor, LocalKeys):
        # Of a pool, worker processes get theirs with their slot.
        gpu_ids = gpus_of(run, document.gpu_ids_pool)
    else:
        gpu_ids = gpus_on_cluster(run, document.gpu_ids_pool)
        threads = threads_on_cluster(document.num_threads, run.resources.cpus, run.num_ranks)
        use_gpus = True
    config["gpu_ids"] = list(gpu_ids)
    model = type(run.config)
    return Task(
        name=run.name,
        identity=run.identity,
        folder=str(run.folder.absolute()),  # user code may go elsewhere
        run=run.spec.run,
        run_together=run.spec.run_together,
        unit=run.spec.unit,
        config_model=f"{model.__module__}:{model.__qualname__}",
        config=config,
        threads=threads,
        gpu_ids=gpu_ids if use_gpus else (),
        num_ranks=run.num_ranks,
        timeout_seconds=None if run.timeout_minutes is None else 60 * run.timeout_minutes,
        max_attempts=plan.document.max_attempts,
        resources=run.resources.model_dump(),
        import_from=str(plan.source.absolute().parent),
        command=shlex.join([Path(sys.executable).name, *sys.argv]),
    )
