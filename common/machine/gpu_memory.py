"""Memory of GPUs by ``nvidia-smi``, because torch would open a context on them."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_COMMAND = (
    "nvidia-smi",
    "--query-gpu=index,uuid,memory.total,memory.free",
    "--format=csv,noheader,nounits",
)
_SECONDS = 10.0
_MEBI = 2**20


@dataclass(frozen=True)
class GpuMemory:
    """Memory of a GPU, in bytes."""

    total: int
    free: int


@dataclass(frozen=True)
class _Gpu:
    index: str
    uuid: str
    memory: GpuMemory


def total_memory(gpu_ids: Iterable[int]) -> dict[int, int]:
    """Return the bytes of all memory of the GPUs, by id, if known; see `memory_of`."""
    return {gpu_id: memory.total for gpu_id, memory in memory_of(gpu_ids).items()}


def memory_of(gpu_ids: Iterable[int]) -> dict[int, GpuMemory]:
    """Return the memory of the GPUs as it is now, by id, if known.

    Ids are counted among the GPUs that this process sees (``CUDA_VISIBLE_DEVICES``). A slice of a
    GPU (MIG) has no entry. Nor has a GPU that is named by a number on a machine with GPUs of
    several sizes, unless ``CUDA_DEVICE_ORDER`` is ``PCI_BUS_ID``: CUDA counts the fastest first.
    """
    ids, gpus = set(gpu_ids), _gpus()
    visible = _visible(os.environ)
    found: dict[int, GpuMemory] = {}
    for gpu_id in ids:
        if visible is not None and gpu_id >= len(visible):
            continue
        memory = _memory(str(gpu_id) if visible is None else visible[gpu_id], gpus)
        if memory is not None:
            found[gpu_id] = memory
    return found


def _visible(environment: Mapping[str, str]) -> list[str] | None:
    """Return ``CUDA_VISIBLE_DEVICES`` up to the first invalid name; None if it is not set."""
    given = environment.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return None
    entries = (entry.strip() for entry in given.split(","))
    return list(itertools.takewhile(lambda entry: entry and not entry.startswith("-"), entries))


def _memory(name: str, gpus: list[_Gpu]) -> GpuMemory | None:
    """Return the memory of the GPU of this name: a number, or the beginning of a UUID."""
    if name.isdigit():
        same_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        if not same_order and len({gpu.memory.total for gpu in gpus}) > 1:
            return None
        return next((gpu.memory for gpu in gpus if gpu.index == name), None)
    if not name.startswith("GPU-"):
        return None
    return next((gpu.memory for gpu in gpus if gpu.uuid.startswith(name)), None)


def _gpus() -> list[_Gpu]:
    """Return all GPUs of the machine.

    The result is None if the command is missing, fails, or prints something else.
    """
    try:
        said = subprocess.run(
            _COMMAND, capture_output=True, text=True, timeout=_SECONDS, check=True
        ).stdout
        return [_gpu(line) for line in said.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def _gpu(line: str) -> _Gpu:
    index, uuid, total, free = (part.strip() for part in line.split(","))
    return _Gpu(index, uuid, GpuMemory(int(total) * _MEBI, int(free) * _MEBI))
