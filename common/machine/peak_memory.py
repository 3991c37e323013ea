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
    with suppress(RuntimeError):  # an earlier run has left the GPU unusable
        for gpu in _used_gpus():
            sys.modules["torch"].cuda.reset_peak_memory_stats(gpu)


def peaks() -> dict[str, int]:
    """Return ``peak_memory`` of this process since then, in bytes, as far as it is known.

    A process with GPUs also has ``peak_gpu_memory``, of the GPU on which torch held the most.
    """
    found: dict[str, int] = {}
    with suppress(OSError):
        told = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
        if told:
            found["peak_memory"] = int(told[1]) * 1024
    with suppress(RuntimeError):  # the run has left the GPU unusable
        held = [sys.modules["torch"].cuda.max_memory_reserved(gpu) for gpu in _used_gpus()]
        if held:
            found["peak_gpu_memory"] = max(held)
    return found


def _used_gpus() -> range:
    """Return the GPUs of a process that has started CUDA; none of another one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return range(0)
    return range(torch.cuda.device_count())
