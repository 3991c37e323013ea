"""Which GPUs a plan asks for, and whether this machine has them."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from common.errors import UserError

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
