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
from torch import Tensor, distributed, nn

T = TypeVar("T")

_PATIENCE = datetime.timedelta(days=7)
"""How long a rank waits for the others: the run's parent ends all when one is gone."""
_BUCKET = 2**25
"""Elements of gradients that travel together."""


def join(rank: int, num_ranks: int, meeting_point: Path, device: torch.device) -> None:
    """Makes this process one of the ranks; returns when all are there.

    It leaves those of an earlier run, which have ended well: others are not asked to meet again.

    Args:
        rank: the process's own, counted from 0.
        num_ranks: how many there are.
        meeting_point: a file that is not there yet, the same for all ranks and for nobody else.
        device: where the rank computes.
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
    """Number of this process among the ranks; 0 for the only one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """How many ranks make the run."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this rank is the one that writes files."""
    return number() == 0


def share(size: int) -> slice:
    """Part of ``size`` things in their order that is this rank's; parts differ by at most one."""
    rank, ranks = number(), count()
    return slice(rank * size // ranks, (rank + 1) * size // ranks)


def dealt(items: Sequence[T]) -> Sequence[T]:
    """Those of the things that are this rank's where they are dealt out one by one."""
    return items[number() :: count()]


def gathered(own: Sequence[T]) -> list[T]:
    """The parts of all ranks, one behind the other."""
    if count() == 1:
        return list(own)
    parts: list[Any] = [None] * count()
    distributed.all_gather_object(parts, list(own))
    return [item for part in parts for item in part]


def gathered_tensors(own: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Like `gathered`, of tensors of any shapes; all come to this rank's device."""
    if count() == 1:
        return list(own)
    return [tensor.to(device) for tensor in gathered([tensor.cpu() for tensor in own])]


def from_first(value: T) -> T:
    """What the first rank gives."""
    if count() == 1:
        return value
    held = [value]
    distributed.broadcast_object_list(held, src=0)
    return held[0]


def is_any(flag: bool) -> bool:
    """Whether the flag is set on one of the ranks."""
    return bool(total(torch.tensor(float(flag))) > 0)


def total(values: Tensor) -> Tensor:
    """The sum over ranks, equal to the bit on all of them; no gradient flows through it."""
    if count() == 1:
        return values
    found = values.detach().clone()
    distributed.all_reduce(found)
    return found


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Gives each rank the sum of all ranks' gradients, in place of its own."""
    if count() == 1:
        return
    add_up([parameter.grad for parameter in parameters if parameter.grad is not None])


def add_up(tensors: Sequence[Tensor]) -> None:
    """Puts the sum over ranks in the place of each tensor; many travel as one."""
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
