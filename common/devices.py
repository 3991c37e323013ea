"""Which GPUs a plan asks for, whether this machine has them, and the way of tensors there."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from common.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

log = logging.getLogger(__name__)


def gpus_are_usable(ids: Iterable[int]) -> bool:
    """Whether the GPUs can be used; without any GPU here, says so once: the CPU computes.

    Raises:
        UserError: the machine has GPUs, but not these.
    """
    wanted = sorted(set(ids))
    if not wanted:
        return False
    import torch

    count = torch.cuda.device_count()
    if count == 0:
        log.warning("GPUs %s are asked for, but this machine has none: the CPU computes", wanted)
        return False
    missing = [gpu for gpu in wanted if gpu >= count]
    if missing:
        raise UserError(
            f"'gpu_ids' = {missing}: this machine has {count} GPU(s), 0 to {count - 1}; "
            "choose among them with --gpu_ids"
        )
    return True


def run_device(gpu_ids: Iterable[int]) -> torch.device:
    """The device of a run that was given these GPUs; the CPU where it has none."""
    import torch

    first = next(iter(gpu_ids), None)
    usable = first is not None and torch.cuda.is_available()
    return torch.device(f"cuda:{first}" if usable else "cpu")


def sent(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device; the host does not wait for what the device is doing.

    A GPU reads pinned memory while the host goes on; before it reads any other, all earlier work
    must be done.
    """
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
