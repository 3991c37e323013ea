"""Running means of an update's metrics, over its minibatches and all ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from common import distributed


class RunningMeans:
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

    def reset(self, *names: str) -> None:
        """Reset these means."""
        for name in names:
            self._sums.pop(name, None)
            self._counts.pop(name, None)

    def compute(self, *, mean: bool = True) -> dict[str, float]:
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
