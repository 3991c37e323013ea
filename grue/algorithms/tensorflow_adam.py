"""Adam in the form of TensorFlow, whose first steps are smaller than PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.training.optimizers import AdamW


class TensorFlowAdam(AdamW):
    """Adam that adds epsilon to the root of the second moment before the bias correction.

    theta <- theta - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps), which is PyTorch's step
    with eps / sqrt(1 - b2^t) for epsilon, and is computed by PyTorch's fused step. With eps = 1e-5
    the first step on a gradient of 1e-5 is 0.03 lr, where PyTorch's is 0.5 lr (Huang et al. 2024,
    "The N Implementation Details of RLHF with PPO"). The t is one for all weights, as in
    TensorFlow.

    Arguments and weight decay are those of `torch.optim.AdamW`; ``eps`` is the value before the
    correction.
    """

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options)
        for group in self.param_groups:
            group["uncorrected_eps"], group["num_steps"] = group["eps"], 0
        # A scaler of losses that leaves out a step leaves it out of the count too.
        self._step_supports_amp_scaling = False

    # torch has one form with a closure and one without.
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step; the count of steps is part of the state that checkpoints hold."""
        for group in self.param_groups:
            group["num_steps"] += 1
            correction = 1 - group["betas"][1] ** group["num_steps"]
            group["eps"] = group["uncorrected_eps"] / correction**0.5
        found: float | None = super().step(closure)
        return found
