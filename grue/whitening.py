"""Advantages whose rewards and estimates are whitened within a minibatch.

As in Ziegler et al. 2019 (arXiv 1909.08593), "Fine-Tuning Language Models from Human Preferences":
rewards keep their mean, advantages lose it. Axis letters: n outputs, T tokens.
"""

from __future__ import annotations

from torch import Tensor

from common.devices import sent
from grue.advantages import Credit, credited
from grue.places import chosen, put_back

_EPSILON = 1e-8
"""Added to variances, as in the published code."""


def whitened(values: Tensor, mask: Tensor, *, keep_mean: bool = False) -> tuple[Tensor, Tensor]:
    """(x - mean) / sqrt(var + 1e-8), plus the mean again if it is kept; and that root.

    Mean and variance (divided by the count) are those of all values that count.

    Args:
        values: [n, T]
        mask: [n, T] on the CPU, true where a value counts.
        keep_mean: whether only the deviation changes.

    Returns:
        [n, T] values, zero outside the mask, and [] what they were divided by.
    """
    counted = chosen(values, mask)
    mean, scale = counted.mean(), (counted.var(correction=0) + _EPSILON).sqrt()
    found = (counted - mean) / scale + (mean if keep_mean else 0.0)
    return put_back(found, mask), scale


def whitened_estimates(
    rewards: Tensor,
    penalties: Tensor,
    values: Tensor,
    mask: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
    whiten_rewards: bool,
) -> Credit:
    """Whitened advantages of finished outputs; returns are those before that.

    Args:
        rewards: [n, T] per token, with the penalty.
        penalties: [n, T] the part of the rewards that the KL penalty makes.
        values: [n, T] the critic's at the time of the rollout.
        mask: [n, T] on the CPU, true at an output's tokens.
        gamma: discount per token.
        gae_lambda: weight of longer estimates.
        whiten_rewards: whether rewards are whitened first, with their mean kept.
    """
    if whiten_rewards:
        rewards, scale = whitened(rewards, mask, keep_mean=True)
        penalties = penalties / scale
    tokens = sent(mask, values.device)
    credit = credited(
        rewards, penalties, penalties, values, tokens, tokens, gamma=gamma, gae_lambda=gae_lambda
    )
    advantages, scale = whitened(credit.advantages, mask)
    return Credit(advantages, credit.penalty_advantages / scale, credit.returns)
