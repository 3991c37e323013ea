"""Which GPUs a plan asks for, and whether this machine has them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from common.errors import UserError

if TYPE_CHECKING:
    import torch

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


def run_gpus(gpu_ids: Iterable[int]) -> tuple[int, ...]:
    """The GPUs with which a run computes that was given these; none where the CPU does."""
    import torch

    ids = tuple(gpu_ids)
    return ids if ids and torch.cuda.is_available() else ()


def run_device(gpu_ids: Iterable[int]) -> torch.device:
    """The device of a run that was given these GPUs; the CPU where it has none."""
    import torch

    first = next(iter(run_gpus(gpu_ids)), None)
    return torch.device("cpu" if first is None else f"cuda:{first}")
