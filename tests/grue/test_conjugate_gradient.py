"""The conjugate gradient: exact after as many products as there are dimensions, or before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from grue.rl.conjugate_gradient import conjugate_gradient

FLOAT64 = {"dtype": torch.float64}


def test_it_solves_in_as_many_products_as_there_are_distinct_eigenvalues() -> None:
    torch.manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(12, 12, **FLOAT64))
    matrix = basis @ torch.diag(torch.tensor([1.0, 2.0, 5.0], **FLOAT64).repeat(4)) @ basis.T
    target, products = torch.randn(12, **FLOAT64), []

    def product(vector: Tensor) -> Tensor:
        products.append(vector)
        return matrix @ vector

    found = conjugate_gradient(product, target, max_steps=12)
    assert len(products) == 3
    torch.testing.assert_close(found, torch.linalg.solve(matrix, target))


def test_with_fewer_steps_it_comes_nearer() -> None:
    torch.manual_seed(0)
    half = torch.randn(20, 20, **FLOAT64)
    matrix, target = half @ half.T + torch.eye(20, **FLOAT64), torch.randn(20, **FLOAT64)
    exact = torch.linalg.solve(matrix, target)
    errors = []
    for steps in range(6):
        error = conjugate_gradient(matrix.mv, target, max_steps=steps) - exact
        errors.append(float(error @ matrix @ error))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_nothing_is_the_solution_where_the_target_is_nothing() -> None:
    assert (conjugate_gradient(lambda v: v, torch.zeros(3), max_steps=5) == 0).all()


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**-20, 2.0**20])
def test_the_solution_scales_with_the_target(scale: float) -> None:
    torch.manual_seed(0)
    half = torch.randn(20, 20, **FLOAT64)
    matrix, target = half @ half.T + torch.eye(20, **FLOAT64), torch.randn(20, **FLOAT64)
    found = conjugate_gradient(matrix.mv, target, max_steps=15)
    scaled = conjugate_gradient(matrix.mv, scale * target, max_steps=15)
    assert torch.equal(scaled / scale, found)  # powers of two round nothing
