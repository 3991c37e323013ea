"""Start of a plan's fork server, while the plan is still being checked."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from common.config.executors import LocalKeys
from common.custom.user_code import CUSTOM
from common.plan.run import Plan, Run
from common.runner.scheduling.fork_server import ForkServer
from common.runner.scheduling.worker_process import worker_environment

_OF_TORCH = ("torch", "common.training.seeding")
"""Modules that attempts at runs with torch load."""


@contextmanager
def fork_server(plan: Plan, runs: Sequence[Run], threads: int) -> Iterator[ForkServer | None]:
    """Yield a server of workers with ``threads`` each, if ``runs`` will be made by any.

    It loads the project's own experiments. Users' code is loaded by each worker: it may start
    threads, open a GPU, or hold a state.
    """
    if not (_has_workers(plan, runs) and ForkServer.is_possible()):
        yield None
        return
    own = [run.spec.run for run in runs if not run.experiment.startswith(CUSTOM)]
    modules = dict.fromkeys(path.partition(":")[0] for path in own)
    if own or "torch" in sys.modules:  # users' code that uses it has loaded it, as keys were read
        modules |= dict.fromkeys(_OF_TORCH)
    server = ForkServer(worker_environment((), threads), modules)
    try:
        yield server
    finally:
        server.close()


def _has_workers(plan: Plan, runs: Sequence[Run]) -> bool:
    """Return whether workers of this machine may make some of the runs."""
    document = plan.document
    if not isinstance(document.executor, LocalKeys) or not runs:
        return False
    use_gpus = document.gpu_ids_pool or any(run.config.gpu_ids for run in runs)
    has_limits = any(run.timeout_minutes is not None for run in plan.runs)
    has_ranks = any(run.num_ranks > 1 for run in runs)
    return document.multiprocess or bool(use_gpus) or has_ranks or has_limits
