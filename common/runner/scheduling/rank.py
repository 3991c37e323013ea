"""Part of a worker process in a run that several processes share."""

from __future__ import annotations

import functools
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

from common.experiment import Context
from common.process.freed_memory import keep_freed_memory
from common.process.when_loaded import when_loaded
from common.registry import import_part
from common.run.folder import RunFolder
from common.runner.scheduling.task import Task
from common.training.determinism import seed_torch, set_numerics


def meet(task: Task, *, seed: int = 0, threads: int = 1) -> tuple[int, int]:
    """Wait for the other ranks of the task; return the first one's seed and threads."""
    import torch

    from common import distributed
    from common.machine.devices import run_device

    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the ranks are of one machine
    device: torch.device = run_device(task.device_ids)
    distributed.init(task.rank, task.num_ranks, Path(task.rendezvous), device)
    return distributed.broadcast((seed, threads))


def take_part(
    task: Task, *, stop_requested: Callable[[], bool], print_to: Callable[[Path], None]
) -> None:
    """Make a later rank's part of a run: it computes, and writes nothing.

    What it prints, by ``print_to``, goes to the run's log once the first rank may write there.

    Raises:
        Exception: any error that ends the run.
    """
    folder = RunFolder(Path(task.folder))
    config = task.run_config()
    set_numerics(config)
    seed, threads = meet(task)
    print_to(folder.log)
    begin_computing(seed, threads)
    context = Context(
        folder=folder,
        seed=seed,
        gpu_ids=task.device_ids,
        stop_requested=stop_requested,
    )
    import_part(task.run)(config, context)


def begin_computing(seed: int, threads: int) -> None:
    """Set torch's threads and what becomes of freed memory, and seed all global generators.

    Random draws while a run's parts are made are therefore the same in each attempt. NumPy and
    torch are set once they are loaded: a run that needs neither saves their seconds and memory.
    """
    random.seed(seed)
    when_loaded("numpy", "seed", functools.partial(_seed_numpy, seed))
    when_loaded("torch", "seed and threads", functools.partial(_begin_torch, seed, threads))


def _seed_numpy(seed: int) -> None:
    import numpy as np

    np.random.seed(seed)


def _begin_torch(seed: int, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    keep_freed_memory()
    seed_torch(seed)
