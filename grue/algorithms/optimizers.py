"""Optimizers of updates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from common.training.optimizers import AdamW
from grue.algorithms.tensorflow_adam import TensorFlowAdam
from grue.models.config import Optimizer

OPTIMIZERS: Mapping[Optimizer, type[AdamW]] = {
    "adamw": AdamW,
    "adam_tensorflow": TensorFlowAdam,
}
"""Optimizer classes by the names in configurations."""

_NOT_DECAYED = ("bias", "LayerNorm.bias", "LayerNorm.weight")


def adamw(
    named_parameters: Iterator[tuple[str, nn.Parameter]],
    lr: float,
    weight_decay: float,
    options: Mapping[str, Any],
    form: Optimizer = "adamw",
) -> AdamW:
    """Return the published optimiser, without weight decay of weights with certain names."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in named_parameters:
        kept = any(word in name for word in _NOT_DECAYED)
        (others if kept else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    used = [group for group in groups if group["params"]]
    return OPTIMIZERS[form](used, lr=lr, **{"fused": True, **options})
