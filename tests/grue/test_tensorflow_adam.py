"""Adam in TensorFlow's form: its equation, its first steps, and a state that goes on exactly."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from grue.algorithms.optimizers import OPTIMIZERS, adamw

LR, EPS = 0.1, 1e-5
BETAS = 0.9, 0.999


def moved(gradients: Tensor, form: str) -> Tensor:
    """[S, P] weights after each step, from zero on."""
    weight = nn.Parameter(torch.zeros_like(gradients[0]))
    options = {"eps": EPS, "betas": BETAS}
    optimizer = adamw(iter([("w", weight)]), LR, 0.0, options, form)  # type: ignore[arg-type]
    found = []
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        found.append(weight.detach().clone())
    return torch.stack(found)


def expected(gradients: Tensor) -> Tensor:
    """theta <- theta - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)"""
    theta = m = v = torch.zeros_like(gradients[0])
    found = []
    for t, gradient in enumerate(gradients, 1):
        m = BETAS[0] * m + (1 - BETAS[0]) * gradient
        v = BETAS[1] * v + (1 - BETAS[1]) * gradient**2
        step = LR * (1 - BETAS[1] ** t) ** 0.5 / (1 - BETAS[0] ** t)
        theta = theta - step * m / (v.sqrt() + EPS)
        found.append(theta)
    return torch.stack(found)


def test_steps_are_those_of_the_equation() -> None:
    torch.manual_seed(0)
    gradients = torch.randn(50, 7, dtype=torch.float64) * 10.0 ** torch.arange(-6, 1)
    found = moved(gradients, "adam_tensorflow")
    torch.testing.assert_close(found, expected(gradients), rtol=1e-9, atol=1e-12)
    assert (moved(gradients, "adamw") - found)[:, 0].abs().max() > 0.01


@pytest.mark.parametrize(
    ("form", "shares"),
    [("adamw", [0.50, 0.91, 0.99]), ("adam_tensorflow", [0.031, 0.24, 0.76])],
)
def test_the_published_first_steps(form: str, shares: list[float]) -> None:
    first = moved(torch.tensor([[1e-5, 1e-4, 1e-3]], dtype=torch.float64), form)[0]
    assert (-first / LR).tolist() == pytest.approx(shares, abs=5e-3)


def test_a_saved_state_goes_on_exactly() -> None:
    torch.manual_seed(0)
    gradients = torch.randn(6, 4) * 1e-4
    weight = nn.Parameter(torch.zeros(4))

    def steps(optimizer: torch.optim.Optimizer, part: slice) -> None:
        for gradient in gradients[part]:
            weight.grad = gradient.clone()
            optimizer.step()

    make = OPTIMIZERS["adam_tensorflow"]
    first = make([weight], lr=LR, eps=EPS)
    steps(first, slice(3))
    kept, at = copy.deepcopy(first.state_dict()), weight.detach().clone()
    steps(first, slice(3, None))
    whole = weight.detach().clone()
    with torch.no_grad():
        weight.copy_(at)
    again = make([weight], lr=LR, eps=EPS)
    again.load_state_dict(kept)
    steps(again, slice(3, None))
    assert torch.equal(weight, whole)


def test_a_step_that_a_scaler_leaves_out_does_not_count() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = adamw(iter([("w", weight)]), LR, 0.0, {"eps": EPS}, "adam_tensorflow")
    scaler = torch.amp.GradScaler("cpu")
    for factor in (torch.inf, 1.0):
        scaler.scale((factor * weight).sum() * 1e-4).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    once = moved(torch.full((1, 2), 1e-4), "adam_tensorflow")[0]
    torch.testing.assert_close(weight.detach(), once, rtol=1e-4, atol=0)
