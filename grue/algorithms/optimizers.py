"""Optimizers of updates, and running means over minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from common import distributed
from grue.algorithms.tensorflow_adam import TensorFlowAdam
from grue.models.config import Optimizer

OPTIMIZERS: Mapping[Optimizer, type[torch.optim.AdamW]] = {
    "adamw": torch.optim.AdamW,
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
) -> torch.optim.AdamW:
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


class Means:
    """Running means of all ranks together, which stay on the device until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, weight: float | None = None, /, **values: Tensor) -> None:
        """Add one value to each mean.

        If ranks have different values, their weights sum to 1; ``weight`` is None for equal ones.
        """
        share = 1 / distributed.world_size() if weight is None else weight
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + share * value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1

    def forget(self, *names: str) -> None:
        """Reset these means."""
        for name in names:
            self._sums.pop(name, None)
            self._counts.pop(name, None)

    def read(self, *, mean: bool = True) -> dict[str, float]:
        """Return the means, or the sums, in one transfer from the device."""
        if not self._sums:
            return {}
        values = torch.stack(
            [
                total.float() / (self._counts[name] if mean else 1)
                for name, total in self._sums.items()
            ]
        )
        return dict(zip(self._sums, distributed.all_reduce_sum(values).tolist(), strict=True))
