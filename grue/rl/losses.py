"""Losses of policy-gradient algorithms, as functions of log-probabilities, values and advantages.

M is the number of tokens (states) used for training. Every loss is a mean over them, to be
minimised. Tensors of other shapes are a `ValueError`: a [4] against a [4, 1] would be a mean over 4
x 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.training.shape_checks import check_shape, check_shapes
from grue.rl.policy_losses import policy_gradient
from grue.rl.tolerance import TOLERANCE


def policy_gradient_loss(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Return the policy-gradient loss -mean(A log pi(a)) (REINFORCE, Williams 1992).

    Args:
        log_probs: [M] of the sampled tokens.
        advantages: [M] constants.
    """
    return policy_gradient(log_probs, advantages).mean()


def value_loss(
    values: Tensor, returns: Tensor, old_values: Tensor, clip_range: float | None = None
) -> Tensor:
    """Return the mean squared error of the critic.

    Args:
        values: [M] the critic's values.
        returns: [M] its targets.
        old_values: [M] the critic's values at the time of the rollout.
        clip_range: largest change from the old values, in units of the reward; None does not clip.
    """
    check_shapes(values.shape, returns=returns, old_values=old_values)
    if clip_range is not None:
        values = old_values + (values - old_values).clamp(-clip_range, clip_range)
    return (returns - values).square().mean()


def clipped_value_loss(
    values: Tensor, returns: Tensor, old_values: Tensor, clip_range: float
) -> tuple[Tensor, Tensor]:
    """Return the clipped value loss 1/2 mean(max((V - R)^2, (V_clip - R)^2)).

    It is that of Ziegler et al. (2019). V_clip is V clipped to within ``clip_range`` of the old
    value: a larger change earns nothing.

    Args:
        values: [M] the critic's values.
        returns: [M] its targets.
        old_values: [M] the critic's values at the time of the rollout.
        clip_range: largest change from the old values, in units of the reward.

    Returns:
        [] the loss, and [] the share of values whose clipped error is the larger one.
    """
    check_shapes(values.shape, returns=returns, old_values=old_values)
    moved = values - old_values
    inside = old_values + moved.clamp(-clip_range, clip_range)
    errors, of_clipped = (values - returns).square(), (inside - returns).square()
    # Within the range a clipped value is the value itself, but for rounding: that does not count.
    is_larger = (of_clipped > errors) & (moved.abs() > clip_range)
    return torch.maximum(errors, of_clipped).mean() / 2, is_larger.float().mean()


def explained_variance(values: Tensor, returns: Tensor) -> Tensor:
    """Return 1 - Var(returns - values) / Var(returns); NaN where returns do not vary."""
    check_shape("returns", returns, values.shape)
    unexplained = (returns - values).var()
    return torch.where(returns_vary(values, returns), 1 - unexplained / returns.var(), torch.nan)


def returns_vary(values: Tensor, returns: Tensor) -> Tensor:
    """Return [] whether returns differ by more than the rounding of rewards and values."""
    check_shape("returns", returns, values.shape)
    largest = torch.maximum(values.abs().amax(), returns.abs().amax())
    return returns.amax() - returns.amin() > TOLERANCE * largest
