"""Losses: their gradients are those of the equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from grue.rl.kl import kl_k3, probability_ratio
from grue.rl.losses import (
    clipped_value_loss,
    explained_variance,
    policy_gradient_loss,
    value_loss,
)
from grue.rl.policy_losses import clipped, ratio_means

FLOAT64 = {"dtype": torch.float64}


def surrogate(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor) -> Tensor:
    """PPO's loss, with the published range."""
    ratios = probability_ratio(log_probs, old_log_probs)
    return clipped(log_probs, ratios, advantages, 0.2, 0.2).mean()


def test_on_policy_the_clipped_loss_has_the_policy_gradient() -> None:
    log_probs = torch.randn(6, requires_grad=True, **FLOAT64)
    advantages = torch.randn(6, **FLOAT64)
    (of_clipped,) = torch.autograd.grad(
        surrogate(log_probs, log_probs.detach(), advantages), log_probs
    )
    (plain,) = torch.autograd.grad(policy_gradient_loss(log_probs, advantages), log_probs)
    torch.testing.assert_close(of_clipped, plain)


def test_a_ratio_beyond_the_clip_range_counts_only_where_it_harms() -> None:
    old = torch.zeros(4, **FLOAT64)
    log_probs = torch.tensor([0.5, -0.5, 0.5, -0.5], requires_grad=True, **FLOAT64)
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0], **FLOAT64)
    loss = surrogate(log_probs, old, advantages)
    loss.backward()
    ratio = log_probs.detach().exp()
    expected = -(1.2 + ratio[1] - ratio[2] - 0.8) / 4
    torch.testing.assert_close(loss.detach(), expected)
    assert log_probs.grad is not None
    assert [bool(g) for g in log_probs.grad] == [False, True, True, False]


def test_value_loss_with_and_without_a_limit() -> None:
    values, returns, old = (torch.tensor(x, **FLOAT64) for x in ([1.0, 0.05], [2.0, 0.0], [0, 0]))
    assert float(value_loss(values, returns, old)) == (1 + 0.0025) / 2
    assert float(value_loss(values, returns, old, 0.1)) == (1.9**2 + 0.0025) / 2


def test_k3_of_the_old_policys_tokens_has_the_divergence_as_its_mean() -> None:
    old, new = torch.randn(2, 5, **FLOAT64).log_softmax(-1)
    mean = sum(old[i].exp() * kl_k3(old[i], new[i]) for i in range(5))
    torch.testing.assert_close(mean, (old.exp() * (old - new)).sum())


def test_explained_variance() -> None:
    returns = torch.randn(20, **FLOAT64)
    assert float(explained_variance(returns + 3, returns)) == 1.0
    assert abs(float(explained_variance(torch.zeros(20, **FLOAT64), returns))) < 1e-12
    assert math.isnan(float(explained_variance(returns, torch.ones(20, **FLOAT64))))


@pytest.mark.parametrize("size", [1.0, 100.0])
def test_returns_that_rounding_tells_apart_have_no_variance_to_explain(size: float) -> None:
    """A return is a sum of differences from values: it has their rounding."""
    values = size * torch.randn(200)
    returns = (torch.ones(200) - values) + values
    assert float(returns.var()) > 0
    assert math.isnan(float(explained_variance(values, returns)))
    assert math.isfinite(float(explained_variance(values, returns + 1e-3 * torch.randn(200))))


def test_of_two_value_errors_the_larger_one_counts() -> None:
    """A value that leaves its old one towards the return gains only up to the limit."""
    old = torch.zeros(3, **FLOAT64)
    values = torch.tensor([0.5, -0.5, 0.1], requires_grad=True, **FLOAT64)
    returns = torch.tensor([1.0, 1.0, 1.0], **FLOAT64)
    loss, share = clipped_value_loss(values, returns, old, 0.2)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((0.8**2 + 1.5**2 + 0.9**2) / 6)
    assert float(share) == pytest.approx(1 / 3)
    assert values.grad is not None
    assert [bool(g) for g in values.grad] == [False, True, True]


def test_the_share_of_clipped_tokens() -> None:
    log_probs = torch.tensor([0.5, -0.5, 0.5, -0.5, 0.1], **FLOAT64)
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0, 1.0], **FLOAT64)
    found = ratio_means(log_probs.exp(), advantages, 0.2, 0.2)
    assert float(found["clip_share/low"]) == pytest.approx(1 / 5)
    assert float(found["clip_share/high"]) == pytest.approx(1 / 5)
    assert float(found["ratio/mean"]) == pytest.approx(float(log_probs.exp().mean()))


def test_values_within_the_range_are_not_counted_as_clipped() -> None:
    old, values = torch.linspace(0, 0.05, 1001), torch.linspace(-0.1, 0.1, 1001).flip(0)
    for returns in (values + 1e-3, values - 1e-3):
        _, share = clipped_value_loss(values, returns, old, 0.2)
        assert share == 0


@pytest.mark.parametrize("far", [89.0, -89.0, 1e4, -1e4])
def test_far_policies_have_finite_losses_and_gradients(far: float) -> None:
    log_probs = torch.tensor([far, 0.0], requires_grad=True)
    old_log_probs, advantages = torch.zeros(2), torch.tensor([-1.0, 1.0])
    loss = surrogate(log_probs, old_log_probs, advantages)
    distance = kl_k3(old_log_probs, log_probs).mean()
    (gradient,) = torch.autograd.grad(loss + distance, log_probs)
    assert torch.isfinite(torch.stack([loss, distance])).all() and torch.isfinite(gradient).all()
    assert torch.isfinite(kl_k3(log_probs, old_log_probs)).all()
