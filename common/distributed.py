"""The ranks of a run: processes that share its work, each of which holds the run's whole state.

Without ranks, which is how nearly all runs are made, everything here is the identity. What sends
anything is called by all ranks alike, in the same order.
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
"""How long a rank waits for the others: the run's parent ends all when one is gone."""
_BUCKET = 2**25
"""Elements of gradients that travel together."""


def init(rank: int, num_ranks: int, rendezvous: Path, device: torch.device) -> None:
    """Makes this process one of the ranks; returns when all are there.

    It leaves those of an earlier run, which have ended well: others are not asked to meet again.

    Args:
        rank: the process's own, counted from 0.
        num_ranks: how many there are.
        rendezvous: a file that is not there yet, the same for all ranks and for nobody else.
        device: where the rank computes.
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
    """Number of this process among the ranks; 0 for the only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many ranks make the run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this rank is the one that writes files."""
    return rank() == 0


def shard_slice(size: int) -> slice:
    """Part of ``size`` things in their order that is this rank's; parts differ by at most one."""
    number, count = rank(), world_size()
    return slice(number * size // count, (number + 1) * size // count)


def round_robin(items: Sequence[T]) -> Sequence[T]:
    """Those of the things that are this rank's where they are dealt out one by one."""
    return items[rank() :: world_size()]


def all_gather(own: Sequence[T]) -> list[T]:
    """The parts of all ranks, one behind the other."""
    if world_size() == 1:
        return list(own)
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, list(own))
    return [item for part in parts for item in part]


def all_gather_tensors(own: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Like `all_gather`, of tensors of any shapes; all come to this rank's device."""
    if world_size() == 1:
        return list(own)
    return [tensor.to(device) for tensor in all_gather([tensor.cpu() for tensor in own])]


def broadcast(value: T) -> T:
    """What the first rank gives."""
    if world_size() == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on one of the ranks."""
    return bool(all_reduce_sum(torch.tensor(float(flag))) > 0)


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum over ranks, equal to the bit on all of them; no gradient flows through it."""
    if world_size() == 1:
        return values
    found = values.detach().clone()
    dist.all_reduce(found)
    return found


def all_reduce_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Gives each rank the sum of all ranks' gradients, in place of its own."""
    if world_size() == 1:
        return
    all_reduce_([parameter.grad for parameter in parameters if parameter.grad is not None])


def all_reduce_(tensors: Sequence[Tensor]) -> None:
    """Puts the sum over ranks in the place of each tensor; many travel as one."""
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
