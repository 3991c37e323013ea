"""Optimiser steps by clipped gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_EPSILON = 1e-6
"""Number that `torch.nn.utils.clip_grad_norm_` adds to a norm."""


def trained_by(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return the parameters of all groups of an optimiser."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def step_clipped(optimizer: torch.optim.Optimizer, norm: Tensor, limit: float) -> None:
    """Step by gradients whose norm [] is clipped to a limit.

    A fused step divides the gradients while it reads them, as it would by the scale of a float16
    loss. That saves a pass over all gradients, in which memory is read and written.
    """
    if all(group.get("fused") for group in optimizer.param_groups):
        divisor = ((norm + _EPSILON) / limit).clamp(min=1)
        optimizer.grad_scale = divisor.float()  # type: ignore[attr-defined]  # it takes no other type
        try:
            optimizer.step()
        finally:
            del optimizer.grad_scale  # type: ignore[attr-defined]
    else:
        nn.utils.clip_grads_with_norm_(trained_by(optimizer), limit, norm)
        optimizer.step()
