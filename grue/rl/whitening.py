"""Whitening of rewards and advantages within a minibatch.

As in Ziegler et al. 2019 (arXiv 1909.08593), "Fine-Tuning Language Models from Human Preferences":
rewards keep their mean, advantages lose it. Axis letters: n outputs, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.machine.devices import sent
from common.training.shape_checks import check_axes, check_shape, check_shapes
from grue.rl.advantages import AdvantageEstimates, estimate_advantages
from grue.rl.numeric_equality import are_equal, centred
from grue.rl.token_positions import chosen, put_back

_EPSILON = 1e-8
"""Constant added to variances, as in the published code."""


def whitened(values: Tensor, mask: Tensor, *, keep_mean: bool = False) -> tuple[Tensor, Tensor]:
    """Return (x - mean) / sqrt(var + 1e-8), plus the mean if it is kept, and the divisor.

    Equal values become 0, or their mean, and the divisor is 1. Mean and (biased) variance are over
    the values inside the mask.

    Args:
        values: [n, T] numbers to whiten.
        mask: [n, T] on the CPU, true at the values to whiten.
        keep_mean: if true, the mean is added back.

    Returns:
        [n, T] values, zero outside the mask, and [] their divisor.
    """
    check_axes("values", values, "nT")
    check_shape("mask", mask, values.shape)
    counted = chosen(values, mask)
    whitened = (counted.var(correction=0) + _EPSILON).sqrt()
    scale = torch.where(are_equal(counted), 1.0, whitened).squeeze()
    found = centred(counted) / scale + (counted.mean() if keep_mean else 0.0)
    return put_back(found, mask), scale


def whitened_estimates(
    task: Tensor,
    penalties: Tensor,
    values: Tensor,
    mask: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
    whiten_rewards: bool,
) -> AdvantageEstimates:
    """Return the whitened advantages of finished outputs, and the returns before whitening.

    Args:
        task: [n, T] rewards per token of the task alone.
        penalties: [n, T] KL penalties, which are added to the task's rewards.
        values: [n, T] the critic's values at the time of the rollout.
        mask: [n, T] on the CPU, true at an output's tokens.
        gamma: discount per token.
        gae_lambda: weight of longer estimates.
        whiten_rewards: if true, rewards with penalties are whitened first and keep their mean, as
            published.
    """
    check_axes("task", task, "nT")
    check_shapes(task.shape, penalties=penalties, values=values, mask=mask)
    on_device = sent(mask, task.device)
    rewards = task + penalties
    if whiten_rewards:
        rewards, scale = whitened(rewards, mask, keep_mean=True)
        task, penalties = task / scale, penalties / scale
    estimates = estimate_advantages(
        rewards, task, penalties, penalties, values, on_device, on_device,
        gamma=gamma, gae_lambda=gae_lambda,
    )  # fmt: skip
    advantages, scale = whitened(estimates.advantages, mask)
    of_penalties, of_task = (
        put_back(centred(chosen(part, mask)) / scale, mask)
        for part in (estimates.kl_advantages, estimates.task_advantages)
    )
    return AdvantageEstimates(advantages, of_penalties, of_task, estimates.returns)
