"""Objectives of the methods, as pure functions of logits (arXiv 2310.20703, sections 2 and 4).

Axis letters: B inputs, C classes, k labels per input. The policy is pi(.|x) = softmax(logits).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.training.shape_checks import check_shape


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy -log pi(y|x), averaged over the k labels of an input if there are k.

    Args:
        logits: [B, C].
        labels: [B] or [B, k] int64.

    Returns:
        [B] in nats; over several labels its minimum is log k.
    """
    several = labels if labels.dim() == 2 else labels[:, None]  # [B, k]
    check_shape("labels", several, (len(logits), several.shape[1]))
    return -logits.log_softmax(-1).gather(1, several).mean(1)


def expected_reward(logits: Tensor, rewards: Tensor) -> Tensor:
    """Return the value of the policy, V(x) = sum_y pi(y|x) r(x, y).

    Its gradient in the logits is pi_y (r_y - V), of norm at most the reward's standard deviation
    under pi: without deviation there is no signal.

    Args:
        logits: [B, C].
        rewards: [B, C] reward of each label; constant.

    Returns:
        [B] in units of the reward.

    Raises:
        ValueError: ``rewards`` is not shaped like ``logits``.
    """
    check_shape("rewards", rewards, logits.shape)
    return (logits.softmax(-1) * rewards).sum(-1)


def reward_mean_std(logits: Tensor, rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and std of the reward under the policy, V and sqrt(sum_y pi (r - V)^2).

    Args:
        logits: [B, C].
        rewards: [B, C].

    Returns:
        [B] and [B], in units of the reward.
    """
    check_shape("rewards", rewards, logits.shape)
    probabilities = logits.softmax(-1)
    value = (probabilities * rewards).sum(-1)
    variance = (probabilities * (rewards - value[:, None]).square()).sum(-1)
    return value, variance.sqrt()


def expected_gradient_norm(logits: Tensor, rewards: Tensor) -> Tensor:
    """Return the norm of each input's expected policy gradient in the logits, ||pi (r - V)||.

    It is at most the reward's standard deviation, since pi^2 <= pi.

    Args:
        logits: [B, C].
        rewards: [B, C].

    Returns:
        [B] in units of the reward.
    """
    check_shape("rewards", rewards, logits.shape)
    probabilities = logits.softmax(-1)
    value = (probabilities * rewards).sum(-1, keepdim=True)  # [B, 1]
    norms: Tensor = (probabilities * (rewards - value)).norm(dim=-1)
    return norms


def reinforce(logits: Tensor, rewards: Tensor, drawn: Tensor) -> Tensor:
    """Return r(x, y) log pi(y|x) of one drawn label, the REINFORCE objective.

    Args:
        logits: [B, C].
        rewards: [B, C].
        drawn: [B] int64, labels drawn from pi(.|x).

    Returns:
        [B] in units of the reward.
    """
    check_shape("rewards", rewards, logits.shape)
    return _taken(rewards, drawn) * _taken(logits.log_softmax(-1), drawn)


def kl_divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Return the exact KL(pi || reference) = sum_y pi log(pi / reference), never negative.

    Args:
        logits: [B, C].
        reference: [B, C] log-probabilities.

    Returns:
        [B] in nats.
    """
    check_shape("reference", reference, logits.shape)
    log_probs = logits.log_softmax(-1)
    divergence = (log_probs.exp() * (log_probs - reference)).sum(-1)
    # Rounding can make that of near-equal distributions negative; the gradient stays its own.
    return divergence + (divergence.clamp(min=0) - divergence).detach()


def sampled_kl(logits: Tensor, reference: Tensor, drawn: Tensor) -> Tensor:
    """Return log(pi(y) / reference(y)) of the drawn labels, an estimate of `kl_divergence`.

    Args:
        logits: [B, C].
        reference: [B, C] log-probabilities.
        drawn: [B] int64.

    Returns:
        [B] in nats.
    """
    check_shape("reference", reference, logits.shape)
    return _taken(logits.log_softmax(-1) - reference, drawn)


def uniform_log_probs(like: Tensor) -> Tensor:
    """Return the log-probabilities of the uniform distribution, shaped like ``like`` [B, C]."""
    return torch.full_like(like, -math.log(like.shape[-1]))


def _taken(values: Tensor, labels: Tensor) -> Tensor:
    """Return [B] the entries values[b, labels[b]]."""
    check_shape("drawn", labels, values.shape[:1])
    return values.gather(1, labels[:, None]).squeeze(1)
