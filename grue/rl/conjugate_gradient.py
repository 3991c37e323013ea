"""The conjugate gradient method (Hestenes and Stiefel 1952)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from common.training.shape_checks import check_axes, check_shape


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], target: Tensor, *, max_steps: int, tolerance: float = 1e-10
) -> Tensor:
    """Return [P] the approximate solution x of A x = b for a symmetric positive definite A.

    Args:
        product: function v [P] -> A v [P].
        target: [P] right-hand side b.
        max_steps: largest number of products.
        tolerance: relative squared residual |b - A x|^2 / |b|^2 at which iteration stops.

    Raises:
        ValueError: ``target`` or a product is no [P].
    """
    check_axes("target", target, "P")
    solution = torch.zeros_like(target)
    residual = target.clone()
    direction = residual.clone()
    squared = residual @ residual
    enough = tolerance * squared
    for _ in range(max_steps):
        if squared <= enough:
            break
        image = product(direction)
        check_shape("product", image, target.shape)
        step = squared / (direction @ image)
        solution += step * direction
        residual -= step * image
        before, squared = squared, residual @ residual
        direction = residual + squared / before * direction
    return solution
