"""Epoch means of per-batch scalars, without a host synchronisation within the epoch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor


class NonFiniteError(RuntimeError):
    """Error of a measured scalar, or a weight, that is NaN or infinite."""


def check_finite(values: dict[str, float], when: str) -> dict[str, float]:
    """Return ``values`` unchanged if all are finite.

    Raises:
        NonFiniteError: one is NaN or infinite; the message has its name and ``when``.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise NonFiniteError(f"{when}: '{name}' = {value}")
    return values


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the first name whose tensor holds NaN or an infinity.

    It takes one transfer from the device.
    """
    are_finite = torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).tolist()
    named = zip(tensors, are_finite, strict=True)
    return next((name for name, is_finite in named if not is_finite), None)


class EpochMeans:
    """Weighted means of the scalars of each batch, collected on the device."""

    def __init__(self) -> None:
        self._values: list[Tensor] = []
        self._names: list[list[str]] = []
        self._weights: list[Mapping[str, float]] = []

    def add(self, report: Mapping[str, Tensor], weights: Mapping[str, float]) -> None:
        """Add one batch.

        Args:
            report: scalar tensors by name; a name may be absent in some batches.
            weights: the batch's weight in the mean of a name, if it is not 1.
        """
        self._values.append(torch.stack(list(report.values())))
        self._names.append(list(report))
        self._weights.append(weights)

    def result(self) -> dict[str, float]:
        """Return the mean of each name over the batches that had it.

        Raises:
            NonFiniteError: some value is NaN or infinite; the message has the first one and its
                step.
        """
        sums: dict[str, float] = defaultdict(float)
        totals: dict[str, float] = defaultdict(float)
        values = iter(torch.cat(self._values).tolist() if self._values else [])
        for step, (names, weights) in enumerate(zip(self._names, self._weights, strict=True)):
            batch = dict(zip(names, values, strict=False))
            for name, value in check_finite(batch, f"step {step}").items():
                weight = weights.get(name, 1.0)
                sums[name] += weight * value
                totals[name] += weight
        return {name: sums[name] / totals[name] for name in sums}
