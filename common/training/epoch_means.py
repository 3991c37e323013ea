"""Means of per-batch scalars over an epoch, without a host synchronisation inside it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor


class NonFiniteError(RuntimeError):
    """A measured scalar, or a weight, is NaN or infinite."""


def check_finite(values: dict[str, float], when: str) -> dict[str, float]:
    """``values``, as they are.

    Raises:
        NonFiniteError: one is NaN or infinite; it is named with ``when``.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise NonFiniteError(f"{when}: '{name}' = {value}")
    return values


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The first name whose tensor holds NaN or an infinity; one transfer tells of all of them."""
    are_finite = torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).tolist()
    named = zip(tensors, are_finite, strict=True)
    return next((name for name, is_finite in named if not is_finite), None)


class EpochMeans:
    """Collects scalars of each batch on the device; one transfer gives their weighted means."""

    def __init__(self) -> None:
        self._values: list[Tensor] = []
        self._names: list[list[str]] = []
        self._weights: list[Mapping[str, float]] = []

    def add(self, report: Mapping[str, Tensor], weights: Mapping[str, float]) -> None:
        """Adds one batch.

        Args:
            report: scalar tensors by name; a name may be absent in some batches.
            weights: the batch's weight in the mean of a name, where it is not 1.
        """
        self._values.append(torch.stack(list(report.values())))
        self._names.append(list(report))
        self._weights.append(weights)

    def result(self) -> dict[str, float]:
        """The mean of each name over the batches that had it.

        Raises:
            NonFiniteError: some value is NaN or infinite; the first one is named with its step.
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
