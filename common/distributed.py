"""Ranks: processes that share a run, each with the run's whole state.

Nearly all runs have a single rank, for which everything here is the identity. All ranks call the
collective functions in the same order.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

T = TypeVar("T")

_PATIENCE = datetime.timedelta(days=7)
"""Timeout of a rank's wait for the others; the run's parent ends all ranks when one has died."""
_BUCKET = 2**25
"""Number of gradient elements that are sent together."""


def join(rank: int, num_ranks: int, meeting_point: Path, device: torch.device) -> None:
    """Make this process one of the ranks; return when all are there.

    It first leaves the ranks of an earlier run, which have ended.

    Args:
        rank: the process's own, counted from 0.
        num_ranks: number of ranks.
        meeting_point: path of a file that does not exist yet, the same for all ranks of this run
            alone.
        device: the rank's device.
    """
    on_gpu = device.type == "cuda"
    if distributed.is_initialized():
        distributed.destroy_process_group()
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        init_method=f"file://{meeting_point}",
        rank=rank,
        world_size=num_ranks,
        timeout=_PATIENCE,
    )


def number() -> int:
    """Return the index of this process among the ranks; 0 for the only one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """Return the number of ranks of the run."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    """Return whether this rank is the one that writes files."""
    return number() == 0


def share(size: int) -> slice:
    """Return the slice of ``size`` things that is this rank's.

    Slices differ by at most one thing.
    """
    rank, ranks = number(), count()
    return slice(rank * size // ranks, (rank + 1) * size // ranks)


def dealt(items: Sequence[T]) -> Sequence[T]:
    """Return this rank's things, where things are assigned to the ranks one by one in turn."""
    return items[number() :: count()]


def gathered(own: Sequence[T]) -> list[T]:
    """Return the parts of all ranks, concatenated."""
    if count() == 1:
        return list(own)
    parts: list[Any] = [None] * count()
    distributed.all_gather_object(parts, list(own))
    return [item for part in parts for item in part]


def gathered_tensors(own: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return the tensors of all ranks, of any shapes, on this rank's device."""
    if count() == 1:
        return list(own)
    return [tensor.to(device) for tensor in gathered([tensor.cpu() for tensor in own])]


def from_first(value: T) -> T:
    """Return the first rank's value."""
    if count() == 1:
        return value
    held = [value]
    distributed.broadcast_object_list(held, src=0)
    return held[0]


def is_any(flag: bool) -> bool:
    """Return whether the flag is set on one of the ranks."""
    return bool(total(torch.tensor(float(flag))) > 0)


def total(values: Tensor) -> Tensor:
    """Return the sum over ranks, bit-identical on all of them; no gradient flows through it."""
    if count() == 1:
        return values
    found = values.detach().clone()
    distributed.all_reduce(found)
    return found


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each parameter's gradient by the sum of all ranks' gradients."""
    if count() == 1:
        return
    add_up([parameter.grad for parameter in parameters if parameter.grad is not None])


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over ranks; small ones are sent together."""
    if count() == 1:
        return
    bucket: list[Tensor] = []
    for tensor in tensors:
        is_alike = not bucket or bucket[0].dtype == tensor.dtype
        if bucket and (not is_alike or sum(map(Tensor.numel, bucket)) >= _BUCKET):
            _add_up_together(bucket)
            bucket = []
        bucket.append(tensor)
    if bucket:
        _add_up_together(bucket)


def _add_up_together(tensors: Sequence[Tensor]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
