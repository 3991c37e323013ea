"""GPUs of runs: availability, visibility in a process, and transfers to them."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
_COUNTS_WITHOUT_CUDA = "PYTORCH_NVML_BASED_CUDA_CHECK"


@dataclass(frozen=True)
class AbsentGpus:
    """Named GPUs that this machine lacks."""

    ids: frozenset[int]
    message: str
    """Reason why they cannot be used, and the fix."""
    computes_on_cpu: bool
    """True if the machine has no GPU at all, so that the CPU computes instead."""


def gpus_absent(ids: Iterable[int]) -> AbsentGpus | None:
    """Return which of these GPUs this machine lacks; None if it has them all.

    GPUs are counted among those in ``CUDA_VISIBLE_DEVICES``. The driver's management library is
    asked, so that this process opens none.
    """
    wanted = frozenset(ids)
    if not wanted:
        return None
    import torch

    names = _visible_names()
    with _seeing(names):
        count = torch.cuda.device_count()
    missing = frozenset(gpu for gpu in wanted if gpu >= count)
    if not missing:
        return None
    shown = f"{VISIBLE} = '{os.environ.get(VISIBLE)}' shows"
    if count == 0:
        if names is not None:
            why = f"{shown} none"
        elif torch.backends.cuda.is_built():
            why = "torch finds no GPU on this machine"
        else:
            why = "the installed torch is made for the CPU"
        advice = "the CPU computes; leave it out to do so without this warning"
        return AbsentGpus(missing, f"{why}: {advice}", computes_on_cpu=True)
    whose = "this machine has" if names is None else shown
    told = "GPU 0 alone; name it" if count == 1 else f"GPUs 0 to {count - 1}; choose among them"
    return AbsentGpus(missing, f"{whose} {told}", computes_on_cpu=False)


def names_of(gpu_ids: Iterable[int]) -> str:
    """Return ``CUDA_VISIBLE_DEVICES`` for a process that sees these GPUs alone, counted as here."""
    names = _visible_names()
    return ",".join(str(gpu) if names is None else names[gpu] for gpu in gpu_ids)


def _visible_names() -> list[str] | None:
    """Return the names in the user's ``CUDA_VISIBLE_DEVICES`` up to the first invalid one.

    Names are numbers or ids of GPUs and of their MIG parts. The result is None if the variable is
    not set.
    """
    value = os.environ.get(VISIBLE)
    if value is None:
        return None
    names = (name.strip() for name in value.split(","))
    return list(itertools.takewhile(lambda name: name and not name.startswith("-"), names))


@contextmanager
def gpus_hidden() -> Iterator[None]:
    """Hide all GPUs from libraries inside the block.

    They would use the first one without being asked: the Trainer of transformers, for example,
    reads the random state of every visible GPU, which opens it.
    """
    with _seeing([]):
        yield


@contextmanager
def _seeing(names: Sequence[str] | None) -> Iterator[None]:
    """Make the GPUs of these names visible inside the block; None changes nothing."""
    changed = {_COUNTS_WITHOUT_CUDA: "1"} | ({} if names is None else {VISIBLE: ",".join(names)})
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_gpus(gpu_ids: Iterable[int]) -> tuple[int, ...]:
    """Return the GPUs that a run with these ``gpu_ids`` uses; none if the CPU computes."""
    import torch

    ids = tuple(gpu_ids)
    return ids if ids and torch.cuda.is_available() else ()


def run_device(gpu_ids: Iterable[int]) -> torch.device:
    """Return the device of a run with these GPUs: the first one, or the CPU without any.

    Raises:
        UserError: torch cannot use the GPU.
    """
    import torch

    first = next(iter(gpu_ids), None)
    if first is None:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            "'gpu_ids': this machine has the GPU, but torch cannot use it, as `python -c 'import "
            "torch; torch.cuda.init()'` shows; fix the driver or torch, or give no GPU"
        )
    return torch.device(f"cuda:{first}")


def gpus_of_device(device: torch.device) -> tuple[int, ...]:
    """Return the GPU number of a device, as torch counts in this process; none for the CPU."""
    return (device.index or 0,) if device.type == "cuda" else ()


def free_memory() -> None:
    """Release the GPU memory that ended runs of this process have left reserved."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()  # models stand in cycles with what trains them
        with suppress(RuntimeError):  # the run has left the GPU unusable; its process is replaced
            torch.cuda.empty_cache()


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on a device, without waiting for the device.

    A GPU copies pinned memory while the host continues. Before it copies other memory, all earlier
    work must be done.
    """
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
