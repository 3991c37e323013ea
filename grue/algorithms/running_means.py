"""Running means and largest values of an update's metrics, over its parts and all ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from common import distributed
from common.machine.devices import sent


class RunningMeans:
    """Weighted means of all ranks together, which stay on the device until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}
        self._largest: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def __contains__(self, name: str) -> bool:
        return name in self._sums

    def add(self, weight: float | None = None, /, **values: Tensor) -> None:
        """Add one value to each mean.

        The weights of a minibatch's parts, on all ranks, sum to 1; ``weight`` is None for a value
        that all ranks know.
        """
        share = 1 / distributed.world_size() if weight is None else weight
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + share * value.detach()
            self._weights[name] = self._weights.get(name, 0.0) + share

    def add_largest(self, **values: Tensor) -> None:
        """Add values of which the largest of all is kept."""
        for name, value in values.items():
            largest = self._largest.get(name)
            new = value.detach()
            self._largest[name] = new if largest is None else torch.maximum(largest, new)

    def merge(self, other: RunningMeans) -> None:
        """Add all that another has."""
        for name, total in other._sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + total
            self._weights[name] = self._weights.get(name, 0.0) + other._weights[name]
        self.add_largest(**other._largest)

    def only(self, *names: str) -> RunningMeans:
        """Return these means alone."""
        found = RunningMeans()
        found._sums = {name: self._sums[name] for name in names}
        found._weights = {name: self._weights[name] for name in names}
        return found

    def reset(self, *names: str) -> None:
        """Reset these means."""
        for name in names:
            self._sums.pop(name, None)
            self._weights.pop(name, None)

    def compute(self, *, mean: bool = True) -> dict[str, float]:
        """Return the means, or the sums, with the largest values."""
        if not self._sums:
            return {}
        values = torch.stack([total.float() for total in self._sums.values()])
        values = distributed.all_reduce_sum(values)
        if mean:
            weights = torch.tensor(list(self._weights.values()))
            values = values / distributed.all_reduce_sum(sent(weights, values.device))
        if self._largest:
            largest = torch.stack([value.float() for value in self._largest.values()])
            values = torch.cat([values, distributed.all_reduce_max(largest)])
        return dict(zip([*self._sums, *self._largest], values.tolist(), strict=True))
