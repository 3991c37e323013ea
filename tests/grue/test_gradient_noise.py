"""The spread of gradients over minibatches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from grue.rl.gradient_noise import gradient_moments


def test_moments_are_those_of_the_single_gradients() -> None:
    torch.manual_seed(0)
    weight, unused = (nn.Parameter(torch.randn(3, dtype=torch.float64)) for _ in range(2))
    grads = torch.randn(5, 3, dtype=torch.float64)
    found = gradient_moments(
        [[(weight * grad).sum() / 4, (weight * grad).sum() * 3 / 4] for grad in grads],
        [weight, unused],
    )
    variance = grads.var(0).sum()
    torch.testing.assert_close(found["grad_variance"], variance)
    squared_mean = grads.mean(0).square().sum() - variance / 5
    torch.testing.assert_close(found["grad_squared_mean"], squared_mean)
    assert weight.grad is None


@pytest.mark.parametrize("count", [0, 1])
def test_a_single_gradient_has_no_spread(count: int) -> None:
    weight = nn.Parameter(torch.ones(2))
    assert gradient_moments([[weight.sum()]] * count, [weight]) == {}
