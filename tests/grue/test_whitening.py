"""Whitening within a minibatch: the published golden values, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import torch

from grue.rl.advantages import generalized_advantages
from grue.rl.whitening import whitened, whitened_estimates

FLOAT64 = {"dtype": torch.float64}
OPTIONS: dict[str, Any] = {"gamma": 1.0, "gae_lambda": 0.95}
REWARDS = torch.tensor([[0.1, -0.2, 1.0]], **FLOAT64)
VALUES = torch.tensor([[0.5, 0.4, 0.3]], **FLOAT64)
ALL = torch.ones(1, 3, dtype=torch.bool)


def close(found: torch.Tensor, expected: list[float]) -> None:
    wanted = torch.tensor([expected], **FLOAT64)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_the_published_advantages_and_returns() -> None:
    found = whitened_estimates(REWARDS, 0 * REWARDS, VALUES, ALL, whiten_rewards=False, **OPTIONS)
    close(generalized_advantages(REWARDS, VALUES, ALL, torch.zeros(1), **OPTIONS),
          [0.34675, 0.365, 0.7])  # fmt: skip
    close(found.returns, [0.84675, 0.765, 1.0])
    close(found.advantages, [-0.76255, -0.65017, 1.41272])


def test_whitened_rewards_keep_their_mean() -> None:
    found, _ = whitened(REWARDS, ALL, keep_mean=True)
    close(found, [-0.09223, -0.68058, 1.67281])
    grid = torch.arange(12, 21, **FLOAT64).view(3, 3) / 10
    found, scale = whitened(grid, torch.ones(3, 3, dtype=torch.bool), keep_mean=True)
    torch.testing.assert_close(scale**2, torch.tensor(0.0666667, **FLOAT64), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        found[0], torch.tensor([0.0508, 0.4381, 0.8254], **FLOAT64), rtol=0, atol=5e-5
    )
    torch.testing.assert_close(found[1, 1], torch.tensor(1.6, **FLOAT64))


def test_what_does_not_count_changes_nothing() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True]])
    values = torch.tensor([[1.0, 3.0, 99.0], [2.0, 5.0, 4.0]], **FLOAT64)
    found, _ = whitened(values, mask)
    assert float(found[0, 2]) == 0
    torch.testing.assert_close(found[mask].mean(), torch.zeros((), **FLOAT64))
    torch.testing.assert_close(found[mask].var(correction=0), torch.ones((), **FLOAT64))


def test_equal_values_stay_finite() -> None:
    found, _ = whitened(torch.full((2, 3), 0.7, **FLOAT64), torch.ones(2, 3, dtype=torch.bool))
    assert found.abs().max() < 1e-9


def test_the_part_of_penalties_is_what_they_add() -> None:
    """Advantages are linear in rewards: with the scales fixed, parts of them add up."""
    torch.manual_seed(0)
    task, penalties, values = torch.randn(3, 4, 5, **FLOAT64)
    mask = torch.ones(4, 5, dtype=torch.bool)
    found = whitened_estimates(task, penalties, values, mask, whiten_rewards=True, **OPTIONS)
    rewards, of_rewards = whitened(task + penalties, mask, keep_mean=True)
    end = torch.zeros(4, **FLOAT64)
    raw = generalized_advantages(rewards, values, mask, end, **OPTIONS)
    without = generalized_advantages(rewards - penalties / of_rewards, values, mask, end, **OPTIONS)
    scale = (raw.var(correction=0) + 1e-8).sqrt()
    added = raw - without
    torch.testing.assert_close(found.kl_advantages, (added - added.mean()) / scale)
