"""Mixed precision: matrix products in a half-width type; weights, logits and losses in float32."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from common import distributed
from common.training.clipping import step_clipped, trained_by
from common.training.norms import total_norm
from grue.models.config import MixedPrecision

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(kind: MixedPrecision, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which models compute in the type; losses belong outside."""
    if kind == "no":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_TYPES[kind])


def exactly(device: torch.device) -> AbstractContextManager[object]:
    """Return a context within `autocast` that computes in the type of its tensors."""
    if not torch.amp.is_autocast_available(device.type):  # such as the meta device
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


class MixedPrecisionStepper:
    """Backward passes and steps of an optimiser, the same on all ranks.

    In float16 small gradients vanish, so losses are multiplied by a scale that grows while
    gradients are finite. A step with gradients that are not finite is skipped, and the scale is
    halved.
    """

    def __init__(self, kind: MixedPrecision, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type) if kind == "fp16" else None
        self._left_out: Tensor | None = None

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients to the accumulated ones."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def step(self, optimizer: torch.optim.Optimizer, max_grad_norm: float | None) -> Tensor:
        """Step by the sum of all ranks' gradients, clipped; return the unclipped norm.

        The norm of a skipped step is not finite.
        """
        parameters = trained_by(optimizer)
        distributed.all_reduce_gradients(parameters)
        if self._scaler is not None:
            self._scaler.unscale_(optimizer)
        limit = torch.inf if max_grad_norm is None else max_grad_norm
        norm = total_norm(parameter.grad for parameter in parameters)
        if self._scaler is None:
            step_clipped(optimizer, norm, limit)
        else:
            nn.utils.clip_grads_with_norm_(parameters, limit, norm)
            self._scaler.step(optimizer)
            self._scaler.update()
            left_out = ~norm.isfinite()
            self._left_out = left_out + (0 if self._left_out is None else self._left_out)
        optimizer.zero_grad(set_to_none=True)
        return norm

    def report(self) -> dict[str, float]:
        """Return the scale, and the number of steps skipped since the last report."""
        if self._scaler is None:
            return {}
        left_out = 0 if self._left_out is None else int(self._left_out)
        self._left_out = None
        return {
            "mixed_precision/loss_scale": self._scaler.get_scale(),
            "mixed_precision/skipped_steps": float(left_out),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the scale and the state of its growth; empty without a scale."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved scale."""
        if self._scaler is not None and state:
            self._scaler.load_state_dict(state)
