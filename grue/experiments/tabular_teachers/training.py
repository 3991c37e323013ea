"""Policy gradient of M tabular policies at once, each by a reward of its own.

A policy has a logit for each output of each prompt, [M, N, Y]. All policies see the same prompts
and the same uniform random numbers, so that differences between them are those of their rewards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grue.experiments.tabular_teachers.config import TabularTeachersConfig
from grue.random_streams import Occasion, generator

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moment:
    """State of M policies after some updates."""

    step: int
    rewards: Floats
    """[M] expected reward that each is trained on."""
    truth: Floats
    """[M] expected true reward."""
    kl: Floats
    """[M] mean KL divergence from the start, in nats."""


def train(
    config: TabularTeachersConfig,
    log_probs: Floats,
    rewards: Floats,
    truth: Floats,
    *,
    seed: int,
    num_moments: int = 10,
) -> Iterator[Moment]:
    """Train, and yield the state before, after the last update, and evenly between.

    Args:
        config: keys of the updates.
        log_probs: [N, Y] of the initial policy.
        rewards: [M, N, Y] rewards.
        truth: [N, Y] true rewards.
        seed: seed of prompts and samples.
        num_moments: number of moments after the start.
    """
    logits = np.broadcast_to(log_probs, rewards.shape).copy()
    told = np.linspace(0, config.num_updates, num_moments + 1).astype(int)
    for step in range(config.num_updates + 1):
        if step in told:
            yield _moment(step, logits, log_probs, rewards, truth)
        if step == config.num_updates:
            return
        if config.num_samples_per_input == 0:
            logits += config.learning_rate * exact_gradient(
                logits, log_probs, rewards, config.kl_coefficient
            )
            continue
        draw = generator(Occasion.TABULAR, seed, step)
        prompts = draw.permutation(len(log_probs))[: config.prompts_per_update]
        uniforms = draw.random((len(prompts), config.num_samples_per_input))
        logits[:, prompts] += config.learning_rate * sampled_gradient(
            logits[:, prompts], log_probs[prompts], rewards[:, prompts], config.kl_coefficient,
            uniforms,
        )  # fmt: skip


def exact_gradient(
    logits: Floats, log_probs: Floats, rewards: Floats, kl_coefficient: float
) -> Floats:
    """Return [M, N, Y] the gradient of E[r] - coefficient KL(pi, start) in the logits.

    It is pi(y) (a(y) - E[a]) with a = r - coefficient ln(pi / start).
    """
    log_pi = log_softmax(logits)
    pi = np.exp(log_pi)
    gains = rewards - kl_coefficient * (log_pi - log_probs)
    found: Floats = pi * (gains - (pi * gains).sum(-1, keepdims=True))
    return found


def sampled_gradient(
    logits: Floats, log_probs: Floats, rewards: Floats, kl_coefficient: float, uniforms: Floats
) -> Floats:
    """Return [M, B, Y] the leave-one-out REINFORCE estimate of `exact_gradient`.

    An output's advantage is its own r - coefficient ln(pi / start) minus the mean of the other
    K - 1 of its prompt (Ahmadian et al. 2024).

    Args:
        logits: [M, B, Y] of the policies, for the update's prompts.
        log_probs: [B, Y] of the initial policy.
        rewards: [M, B, Y] rewards.
        kl_coefficient: weight of the KL divergence.
        uniforms: [B, K] random numbers in [0, 1), one per output.
    """
    log_pi = log_softmax(logits)
    pi = np.exp(log_pi)
    below = pi.cumsum(-1)[..., None, :] <= uniforms[..., None]  # [M, B, K, Y]
    outputs = np.minimum(below.sum(-1), pi.shape[-1] - 1)  # [M, B, K]
    gains = np.take_along_axis(rewards - kl_coefficient * (log_pi - log_probs), outputs, axis=-1)
    num_samples = gains.shape[-1]
    advantages = (gains - gains.mean(-1, keepdims=True)) * num_samples / (num_samples - 1)
    found: Floats = np.zeros_like(pi)
    models, prompts = np.ogrid[: pi.shape[0], : pi.shape[1]]
    for sample in range(num_samples):
        found[models, prompts, outputs[..., sample]] += advantages[..., sample]
    found -= advantages.sum(-1, keepdims=True) * pi  # zero up to rounding
    found /= num_samples
    return found


def log_softmax(logits: Floats) -> Floats:
    """Return [..., Y] log-probabilities."""
    shifted = logits - logits.max(-1, keepdims=True)
    found: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found


def _moment(step: int, logits: Floats, log_probs: Floats, rewards: Floats, truth: Floats) -> Moment:
    log_pi = log_softmax(logits)
    pi = np.exp(log_pi)
    means = [(pi * values).sum(-1).mean(-1) for values in (rewards, truth, log_pi - log_probs)]
    return Moment(step, *means)
