"""Advantages: the published golden case, and identities."""

from __future__ import annotations

import itertools

import pytest
import torch

from grue.rl.advantages import generalized_advantages
from grue.rl.group_advantages import group_advantages, leave_one_out

FLOAT64 = {"dtype": torch.float64}


def test_a_buffer_of_a_whole_and_a_cut_output() -> None:
    """The flat buffer with start flags [1, 0, 0, 1, 0], as two rows."""
    rewards = torch.tensor([[0, 0, 1], [0, 0.5, 9]], **FLOAT64)
    values = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 9]], **FLOAT64)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]], dtype=torch.bool)
    bootstrap = torch.tensor([0, 0.7], **FLOAT64)
    found = generalized_advantages(rewards, values, mask, bootstrap, gamma=0.99, gae_lambda=0.95)
    expected = torch.tensor([[0.808406675, 0.75535, 0.7], [0.7467665, 0.693, 0]], **FLOAT64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    returns = torch.tensor([[0.908406675, 0.95535, 1.0], [1.1467665, 1.193, 9]], **FLOAT64)
    torch.testing.assert_close(found + values, returns, rtol=0, atol=1e-9)


def test_with_lambda_one_advantages_are_discounted_returns_less_values() -> None:
    torch.manual_seed(0)
    rewards, values = torch.randn(2, 4, 6, **FLOAT64)
    mask = torch.ones(4, 6, dtype=torch.bool)
    bootstrap = torch.randn(4, **FLOAT64)
    found = generalized_advantages(rewards, values, mask, bootstrap, gamma=0.9, gae_lambda=1.0)
    for step in range(6):
        weights = 0.9 ** torch.arange(6 - step, **FLOAT64)
        expected = (rewards[:, step:] * weights).sum(1) + 0.9 ** (6 - step) * bootstrap
        torch.testing.assert_close(found[:, step], expected - values[:, step])


def test_with_lambda_zero_advantages_are_one_step_errors() -> None:
    rewards, values = torch.randn(2, 3, 5, **FLOAT64)
    mask = torch.ones(3, 5, dtype=torch.bool)
    bootstrap = torch.randn(3, **FLOAT64)
    found = generalized_advantages(rewards, values, mask, bootstrap, gamma=0.8, gae_lambda=0.0)
    following = torch.cat([values[:, 1:], bootstrap[:, None]], 1)
    torch.testing.assert_close(found, rewards + 0.8 * following - values)


def test_advantages_are_linear_in_rewards_values_and_bootstrap() -> None:
    """So that the part of each reward term is known."""
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    rewards, values, others = torch.randn(3, 2, 4, **FLOAT64)
    bootstrap, zero = torch.randn(2, **FLOAT64), torch.zeros(2, 4, **FLOAT64)

    def advantages(r: torch.Tensor, v: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return generalized_advantages(r, v, mask, b, gamma=0.99, gae_lambda=0.95)

    together = advantages(rewards + others, values, bootstrap)
    apart = advantages(rewards, values, bootstrap) + advantages(others, zero, zero[:, 0])
    torch.testing.assert_close(together, apart)


def test_padding_does_not_matter() -> None:
    rewards, values = torch.randn(2, 1, 3, **FLOAT64)
    mask = torch.ones(1, 3, dtype=torch.bool)
    bootstrap = torch.randn(1, **FLOAT64)
    alone = generalized_advantages(rewards, values, mask, bootstrap, gamma=0.9, gae_lambda=0.9)
    noise = torch.randn(1, 2, **FLOAT64)
    wide = generalized_advantages(
        torch.cat([rewards, noise], 1), torch.cat([values, noise], 1),
        torch.tensor([[1, 1, 1, 0, 0]], dtype=torch.bool), bootstrap, gamma=0.9, gae_lambda=0.9,
    )  # fmt: skip
    torch.testing.assert_close(wide[:, :3], alone)
    assert (wide[:, 3:] == 0).all()


def test_a_leave_one_out_baseline_keeps_the_expected_gradient() -> None:
    """The mean over all pairs of outputs, weighted by their probability, is the exact gradient."""
    logits = torch.randn(4, requires_grad=True, **FLOAT64)
    reward = torch.randn(4, **FLOAT64)
    probs = logits.softmax(-1)
    (exact,) = torch.autograd.grad((probs * reward).sum(), logits, retain_graph=True)
    log_probs, expected = logits.log_softmax(-1), torch.zeros(4, **FLOAT64)
    for pair in itertools.product(range(4), repeat=2):
        index = torch.tensor(pair)
        advantages = leave_one_out(reward[index][None])[0]
        (grad,) = torch.autograd.grad(
            (advantages * log_probs[index]).mean(), logits, retain_graph=True
        )
        expected += probs[index].prod().detach() * grad
    torch.testing.assert_close(expected, exact)


def test_group_baselines() -> None:
    scores = torch.tensor([[1.0, 2.0, 6.0], [0.1, 0.1, 0.1]], **FLOAT64)
    assert leave_one_out(scores)[0].tolist() == [-3.0, -1.5, 4.5]
    none = torch.zeros_like(scores)
    found, _ = group_advantages(
        scores, none, baseline="group", scale="bare_group_std", tolerance=1e-6
    )
    torch.testing.assert_close(found[0], (scores[0] - 3) / scores[0].std())
    assert found[1].tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="two samples per input"):
        leave_one_out(scores[:, :1])
