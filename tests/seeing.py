"""Runs that compute nothing and write down which GPUs they were given, for tests of scheduling."""

from __future__ import annotations

import gc
import json
import os
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from common.config.run import RunConfig
from common.experiment import Context, Experiment
from common.machine.devices import VISIBLE

FULL = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB of "
    "which 5.06 MiB is free. Process 4711 has 10.50 GiB memory in use. Including non-PyTorch "
    "memory, this process has 68.60 GiB memory in use. Of the allocated memory 67.00 GiB is "
    "allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated. If reserved but "
    "unallocated memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid "
    "fragmentation.  See documentation for Memory Management  "
    "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
)
"""As torch 2.11 says it."""


class SeeingConfig(RunConfig):
    """What the run does."""

    size: int = 8
    """Makes runs different, and is what they could lower."""
    fails: Literal["no", "assert", "memory"] = "no"
    """How the run ends."""
    opens_gpu: bool = False
    """Whether torch says from now on that the process uses a GPU, and notes that it is freed."""
    pause: float = 0.0
    """Seconds that it takes."""
    beside: str = ""
    """A run that is to begin before this one ends, if not before two minutes."""
    waits_for: str = ""
    """A run whose process is to be gone before this one ends, if not before two minutes."""

    def ways_to_save_memory(self) -> Iterator[str]:
        yield f"lower 'size' ({self.size})"


class Model:
    """What a run holds."""


_MODELS: weakref.WeakSet[Model] = weakref.WeakSet()


def run(config: SeeingConfig, context: Context) -> float | None:
    gc.collect()
    seen: dict[str, Any] = {
        "pid": os.getpid(),
        "visible": os.environ.get(VISIBLE),
        "devices": list(context.gpu_ids),
        "gpu_ids": list(config.gpu_ids),
        "left_over": len(_MODELS),
    }
    model = Model()
    _MODELS.add(model)
    path = context.folder.path / "seen.json"
    path.write_text(json.dumps(seen))
    if config.opens_gpu:
        torch.cuda.is_initialized = lambda: True
        torch.cuda.empty_cache = (context.folder.path / "emptied").touch
    time.sleep(config.pause)
    if config.beside:
        _within_two_minutes(lambda: bool(_pid_of(path.parent.parent, config.beside)))
    if config.waits_for:
        seen["was_gone"] = _within_two_minutes(
            lambda: _is_gone(path.parent.parent, config.waits_for)
        )
        path.write_text(json.dumps(seen))
    if config.fails != "no":
        raise _error(config.fails)
    return None


def _error(kind: str) -> Exception:
    if kind == "memory":
        return torch.OutOfMemoryError(FULL)
    return RuntimeError("CUDA error: device-side assert triggered")


def _within_two_minutes(condition: Callable[[], bool]) -> bool:
    """Whether it comes true."""
    until = time.monotonic() + 120
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _pid_of(folder: Path, name: str) -> int | None:
    """The process of the other run, once it has begun."""
    found = list(folder.glob(f"{name}-*/seen.json"))
    said = found[0].read_text() if found else ""
    return int(json.loads(said)["pid"]) if said else None


def _is_gone(folder: Path, name: str) -> bool:
    """Whether the other run has begun, and its process has ended."""
    pid = _pid_of(folder, name)
    return pid is not None and not psutil.pid_exists(pid)


def preflight(runs: object) -> list[object]:
    return []


EXPERIMENT = Experiment(
    config=SeeingConfig, run="tests.seeing:run", preflight="tests.seeing:preflight"
)
