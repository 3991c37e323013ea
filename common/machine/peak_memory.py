"""Peak memory of a run, as the process that makes it measures it."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

_RESET = "5"
"""Content of ``clear_refs`` that sets the peak to the present value (Linux, proc(5))."""
_PROCESS = Path("/proc/self")


def begin_measuring() -> None:
    """Forget the peaks of this process that earlier runs have left."""
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text(_RESET)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)


def peaks() -> dict[str, int]:
    """Return ``peak_memory`` of this process since then, in bytes, as far as it is known.

    A process with GPUs also has ``peak_gpu_memory``, of the GPU on which torch held the most.
    """
    found: dict[str, int] = {}
    with suppress(OSError):
        told = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
        if told:
            found["peak_memory"] = int(told[1]) * 1024
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gpus = range(torch.cuda.device_count())
        found["peak_gpu_memory"] = max(torch.cuda.max_memory_reserved(gpu) for gpu in gpus)
    return found
