"""Advantage estimates of tokens, GAE, and means of earlier rewards as baselines.

Axis letters: N outputs, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.training.shape_checks import check_axes, check_shape, check_shapes
from grue.rl.numeric_equality import centred


def generalized_advantages(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    bootstrap: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Return the generalized advantage estimates (Schulman et al. 2016, equation 16).

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lambda A_{t+1}, where the
    bootstrap value takes the place of V after an output's last token.

    Args:
        rewards: [N, T] rewards per token.
        values: [N, T] the critic's values of the state before each token.
        mask: [N, T] true at an output's tokens, which begin at column 0.
        bootstrap: [N] value of the state after the last token: 0 where the output is finished.
        gamma: discount per token.
        gae_lambda: exponential weight of longer estimates; 1 for returns minus values.

    Returns:
        [N, T] advantages, zero outside the mask. Returns are advantages plus values.

    Raises:
        ValueError: shapes do not fit.
    """
    check_axes("rewards", rewards, "NT")
    check_shapes(rewards.shape, values=values, mask=mask)
    check_shape("bootstrap", bootstrap, rewards.shape[:1])
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(bootstrap)  # A_{t+1}
    next_values = bootstrap
    for step in reversed(range(rewards.shape[1])):
        here = mask[:, step]
        delta = rewards[:, step] + gamma * next_values - values[:, step]
        following = torch.where(here, delta + gamma * gae_lambda * following, following)
        next_values = torch.where(here, values[:, step], next_values)
        advantages[:, step] = torch.where(here, following, 0.0)
    return advantages


def cumulative_means(
    scores: Tensor, total: Tensor | float = 0.0, count: int = 0, *, includes_own: bool = False
) -> Tensor:
    """Return the mean of all scores before each one: b_n = (R_1 + ... + R_{n-1}) / (n - 1).

    The first score of all is its own baseline.

    Args:
        scores: [N] in the order in which they came.
        total: sum of still earlier scores.
        count: number of those earlier scores.
        includes_own: if true, a score counts in its own mean, b_n = (R_1 + ... + R_n) / n. This
            baseline is biased, because it depends on the output it is compared with.

    Returns:
        [N]
    """
    check_axes("scores", scores, "N")
    if isinstance(total, Tensor):
        check_shape("total", total, ())
    numbers = count + torch.arange(1, len(scores) + 1, device=scores.device)
    sums = total + scores.double().cumsum(0)
    if not includes_own:
        first = numbers == 1
        sums = torch.where(first, sums, sums - scores)
        numbers = torch.where(first, numbers, numbers - 1)
    return (sums / numbers).to(scores)


def uncertainty_weighted(advantages: Tensor, stds: Tensor) -> Tensor:
    """Return [N] advantages times 1 / (1 + sigma): small where the reward is uncertain.

    ``stds`` [N] are the standard deviations sigma of the rewards, in their units.
    """
    check_axes("advantages", advantages, "N")
    check_shape("stds", stds, advantages.shape)
    return advantages / (1 + stds)


def value_after(values: Tensor, response_mask: Tensor, train_mask: Tensor) -> Tensor:
    """Return [N] the value of the state after the last trained token.

    It is 0 for outputs that end there.
    """
    check_axes("values", values, "NT")
    check_shapes(values.shape, response_mask=response_mask, train_mask=train_mask)
    after = train_mask.sum(1)
    goes_on = after < response_mask.sum(1)
    column = after.clamp(max=values.shape[1] - 1)
    return torch.where(goes_on, values.gather(1, column[:, None]).squeeze(1), 0.0)


@dataclass(frozen=True)
class AdvantageEstimates:
    """Advantage estimates and value targets of rewards that include a penalty, all [N, T]."""

    advantages: Tensor
    kl_advantages: Tensor
    """Advantages from the penalties alone."""
    task_advantages: Tensor
    """Advantages from the task's rewards alone, minus the mean reward over outputs. The critic is
    left out, because its errors belong neither to the task nor to the penalties."""
    returns: Tensor
    """Targets of the critic."""


def estimate_advantages(
    rewards: Tensor,
    task: Tensor,
    penalty: Tensor,
    pg_kl_penalty: Tensor,
    values: Tensor,
    response_mask: Tensor,
    train_mask: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> AdvantageEstimates:
    """Return the GAE advantages and returns of KL-penalised rewards.

    Each token's own KL term is replaced by ``pg_kl_penalty``.

    Args:
        rewards: [N, T] task rewards with the penalty added.
        task: [N, T] the part of ``rewards`` that the task gave.
        penalty: [N, T] the part of ``rewards`` that is penalty.
        pg_kl_penalty: [N, T] each token's own KL term inside the policy gradient.
        values: [N, T] the critic's values.
        response_mask: [N, T] true at an output's tokens.
        train_mask: [N, T] true at the tokens used for training, the first ones of each output.
        gamma: discount per token.
        gae_lambda: exponential weight of longer estimates.

    Raises:
        ValueError: shapes do not fit.
    """
    check_axes("rewards", rewards, "NT")
    check_shapes(
        rewards.shape,
        task=task,
        penalty=penalty,
        pg_kl_penalty=pg_kl_penalty,
        values=values,
        response_mask=response_mask,
        train_mask=train_mask,
    )
    options = {"gamma": gamma, "gae_lambda": gae_lambda}
    bootstrap = value_after(values, response_mask, train_mask)
    advantages = generalized_advantages(rewards, values, train_mask, bootstrap, **options)
    of_penalties, of_task = (
        generalized_advantages(
            part, torch.zeros_like(values), train_mask, torch.zeros_like(bootstrap), **options
        )
        for part in (penalty, less_mean_output(task, response_mask))
    )
    instead = (pg_kl_penalty - penalty) * train_mask
    return AdvantageEstimates(
        advantages + instead, of_penalties + instead, of_task, advantages + values
    )


def less_mean_output(task: Tensor, response_mask: Tensor) -> Tensor:
    """Return [N, T] rewards; the mean reward of an output is subtracted at each last token."""
    check_axes("task", task, "NT")
    check_shape("response_mask", response_mask, task.shape)
    scores = task.sum(1)
    last = (response_mask.sum(1, keepdim=True) - 1).clamp(min=0)
    others = task.scatter(1, last, 0.0).sum(1)
    # What is left at the last token brings each output's sum to its deviation from the mean.
    return task.scatter(1, last, (centred(scores) - others)[:, None])
