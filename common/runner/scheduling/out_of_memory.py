"""Messages about runs that do not fit into the memory of their GPU."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from common.errors import text_of
from common.runner.scheduling.task import Task

_SIZE = r"([\d.]+ \w+)"
_OF_LIBRARIES = re.compile(
    r"CUDA error: out of memory|Cuda failure.{0,9}out of memory|_ALLOC(ATION)?_FAILED"
)
"""Patterns of messages by CUDA, NCCL, cuBLAS and cuDNN, which allocate without torch."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is a lack of GPU memory."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _OF_LIBRARIES.search(text_of(error)) is not None


def memory_message(error: BaseException, task: Task, *, num_together: int = 1) -> str:
    """Return the message: requested bytes, size and users of the GPU's memory, and advice."""
    said = text_of(error)
    needed = re.search(f"Tried to allocate {_SIZE}", said)
    space = re.search(f"GPU (\\d+) has a total capacity of {_SIZE} of which {_SIZE} is free", said)
    if needed and space:
        device, capacity, free = space.groups()
        where = f"{needed[1]} more, of GPU {task.gpu_id(int(device))} with {capacity}, {free} free"
    else:
        where = said.partition("\n")[0]
    holders = list(_holders(said))
    ways = [*task.run_config().ways_to_save_memory()]
    if num_together > 1:
        ways.append(f"set 'vectorize' to false, as {num_together} runs are trained together")
    if any(holder.startswith("process") for holder in holders):
        ways.append("give it a GPU of its own ('gpu_ids_pool', 'num_parallel')")
    ways = ways or ["make the run smaller, or give it another GPU"]
    held = f"; {', '.join(holders)}" if holders else ""
    return f"out of GPU memory ({where}{held}): {', or '.join(ways)}"


def _holders(said: str) -> Iterator[str]:
    """Yield the users of the GPU's memory, by torch's message."""
    own = re.search(f"this process has {_SIZE} memory in use", said)
    tensors = re.search(f"{_SIZE} is allocated by PyTorch", said)
    reserved = re.search(f"{_SIZE} is reserved by PyTorch but unallocated", said)
    if own:
        of_it = (
            f" ({tensors[1]} in tensors, {reserved[1]} reserved)" if tensors and reserved else ""
        )
        yield f"the run held {own[1]}{of_it}"
    for number, size in re.findall(f"Process (\\d+) has {_SIZE} memory in use", said):
        yield f"process {number} held {size}"
