"""Optimizers of R weight vectors at once, which climb; their states are those of torch's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch.optim import Optimizer


class AscentStep(Protocol):
    """Optimizer of R weight vectors, each with its own learning rate."""

    def step(self, gradient: np.ndarray) -> None:
        """Make one update by the gradient [R, D] of the objective."""


class Sgd:
    """`torch.optim.SGD` without momentum."""

    def __init__(self, weights: np.ndarray, optimizers: Sequence[Optimizer]) -> None:
        """Update ``weights`` [R, D] in place."""
        self._weights = weights
        self._lr = _learning_rates(optimizers, weights)

    def step(self, gradient: np.ndarray) -> None:
        """Update w <- w + lr g."""
        self._weights += self._lr * gradient


class Adam:
    """`torch.optim.Adam` (arXiv 1412.6980, algorithm 1)."""

    def __init__(self, weights: np.ndarray, optimizers: Sequence[Optimizer]) -> None:
        """Update ``weights`` [R, D] in place; optimizers' states become views of stacked ones."""
        self._weights = weights
        self._lr = _learning_rates(optimizers, weights)
        defaults = optimizers[0].defaults
        (self._beta1, self._beta2), self._eps = defaults["betas"], defaults["eps"]
        self._mean, self._square = np.zeros((2, *weights.shape), weights.dtype)
        self._steps = np.zeros(len(weights), np.float32)
        for row, optimizer in enumerate(optimizers):
            (param,) = optimizer.param_groups[0]["params"]
            own = {
                "step": torch.from_numpy(self._steps)[row],
                "exp_avg": torch.from_numpy(self._mean[row]),
                "exp_avg_sq": torch.from_numpy(self._square[row]),
            }
            for name, value in optimizer.state.get(param, {}).items():
                own[name].copy_(value)
            optimizer.state[param] = own

    def step(self, gradient: np.ndarray) -> None:
        """Update w <- w + lr m / (sqrt(v) + eps), with m and v corrected for their start."""
        self._steps += 1
        self._mean += (1 - self._beta1) * (gradient - self._mean)
        self._square += (1 - self._beta2) * (gradient * gradient - self._square)
        steps = self._steps[:, None].astype(np.float64)  # in float32, 1 - beta2 loses four digits
        size = (self._lr / (1 - self._beta1**steps)).astype(gradient.dtype)
        scale = np.sqrt(1 - self._beta2**steps).astype(gradient.dtype)
        self._weights += size * self._mean / (np.sqrt(self._square) / scale + self._eps)


def _learning_rates(optimizers: Sequence[Optimizer], like: np.ndarray) -> np.ndarray:
    """Return [R, 1] the learning rate of each optimizer."""
    return np.array([[optimizer.param_groups[0]["lr"]] for optimizer in optimizers], like.dtype)


OPTIMIZERS: dict[str, Callable[[np.ndarray, Sequence[Optimizer]], AscentStep]] = {
    "sgd": Sgd,
    "adam": Adam,
}
