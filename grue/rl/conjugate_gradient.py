"""The conjugate gradient method (Hestenes and Stiefel 1952)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from common.training.shapes import check_axes, check_shape


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], target: Tensor, *, max_steps: int, tolerance: float = 1e-10
) -> Tensor:
    """[P] approximate solution x of A x = b for a symmetric positive definite A.

    Args:
        product: v [P] -> A v [P].
        target: [P] b.
        max_steps: most products.
        tolerance: squared norm of b - A x at which the search ends, over that of b: the solution
            for c b is c times that for b.

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
