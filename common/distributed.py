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
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")

_PATIENCE = datetime.timedelta(days=7)
"""Timeout of a rank's wait for the others; the run's parent ends all ranks when one has died."""
_BUCKET = 2**25
"""Number of gradient elements that are sent together."""


def init(rank: int, num_ranks: int, rendezvous: Path, device: torch.device) -> None:
    """Make this process one of the ranks; return when all are there.

    It first leaves the ranks of an earlier run, which have ended.

    Args:
        rank: index of this process, counted from 0.
        num_ranks: number of ranks.
        rendezvous: path of a file that does not exist yet, the same for all ranks of this run
            alone.
        device: device of this rank.
    """
    on_gpu = device.type == "cuda"
    if dist.is_initialized():
        dist.destroy_process_group()
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        init_method=f"file://{rendezvous}",
        rank=rank,
        world_size=num_ranks,
        timeout=_PATIENCE,
    )


def rank() -> int:
    """Return the index of this process among the ranks; 0 for the only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of ranks of the run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Return whether this rank is the one that writes files."""
    return rank() == 0


def shard_slice(size: int) -> slice:
    """Return the slice of ``size`` things that is this rank's.

    Slices differ by at most one thing.
    """
    number, count = rank(), world_size()
    return slice(number * size // count, (number + 1) * size // count)


def round_robin(items: Sequence[T]) -> Sequence[T]:
    """Return this rank's things, where things are assigned to the ranks one by one in turn."""
    return items[rank() :: world_size()]


def all_gather(own: Sequence[T]) -> list[T]:
    """Return the parts of all ranks, concatenated."""
    if world_size() == 1:
        return list(own)
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, list(own))
    return [item for part in parts for item in part]


def all_gather_tensors(own: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return the tensors of all ranks, of any shapes, on this rank's device."""
    if world_size() == 1:
        return list(own)
    return [tensor.to(device) for tensor in all_gather([tensor.cpu() for tensor in own])]


def broadcast(value: T) -> T:
    """Return the first rank's value."""
    if world_size() == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def any_rank(flag: bool) -> bool:
    """Return whether the flag is set on one of the ranks."""
    return bool(all_reduce_sum(torch.tensor(float(flag))) > 0)


def all_reduce_sum(values: Tensor) -> Tensor:
    """Return the sum over ranks, bit-identical on all of them; no gradient flows through it."""
    if world_size() == 1:
        return values
    found = values.detach().clone()
    dist.all_reduce(found)
    return found


def all_reduce_max(values: Tensor) -> Tensor:
    """Return the largest of all ranks' values, element by element; no gradient flows through it."""
    if world_size() == 1:
        return values
    found = values.detach().clone()
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return found


def all_reduce_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each parameter's gradient by the sum of all ranks' gradients."""
    if world_size() == 1:
        return
    all_reduce_([parameter.grad for parameter in parameters if parameter.grad is not None])


def all_reduce_(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over ranks; small ones are sent together."""
    if world_size() == 1:
        return
    bucket: list[Tensor] = []
    for tensor in tensors:
        is_alike = not bucket or bucket[0].dtype == tensor.dtype
        if bucket and (not is_alike or sum(map(Tensor.numel, bucket)) >= _BUCKET):
            _all_reduce_flat(bucket)
            bucket = []
        bucket.append(tensor)
    if bucket:
        _all_reduce_flat(bucket)


def _all_reduce_flat(tensors: Sequence[Tensor]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
