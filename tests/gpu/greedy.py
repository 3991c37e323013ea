"""Controlled runs that ask for more memory than their GPU has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sft_vs_rft  # noqa: F401  registers its experiment
from common.experiment import EXPERIMENTS, Context
from common.machine.devices import run_device

SHARE = 1.1
"""Of the GPU's memory that is asked for at once."""
_BLOCK = 2**21
SIZE_ON_CPU = "87.00 GiB"
_LIKE_TORCH = (
    f"CUDA out of memory. Tried to allocate {SIZE_ON_CPU}. GPU 0 has a total capacity of 79.10 GiB "
    "of which 78.50 GiB is free. Including non-PyTorch memory, this process has 520.00 MiB memory "
    "in use. Of the allocated memory 0 bytes is allocated by PyTorch, and 0 bytes is reserved by "
    "PyTorch but unallocated."
)


def run(config: Any, context: Context) -> float | None:
    """Fails for want of memory; without a GPU, as torch would."""
    import torch

    device = run_device(context.gpu_ids)
    if device.type == "cpu":
        raise torch.OutOfMemoryError(_LIKE_TORCH)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.empty(num_bytes(total), dtype=torch.uint8, device=device)
    raise AssertionError("it fits")


def num_bytes(total: int) -> int:
    """What is asked for of so much memory, in whole blocks, which torch would round up to."""
    return int(SHARE * total) // _BLOCK * _BLOCK


EXPERIMENT = replace(EXPERIMENTS.get("sft_vs_rft"), run=f"{__name__}:run", run_together=None)
