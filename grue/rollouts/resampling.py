"""Resampling of groups without deviation (DAPO, arXiv 2503.14476, "dynamic sampling")."""

from __future__ import annotations

import torch
from torch import Tensor

from grue.rl.group_advantages import deviates
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.settings import RolloutSettings


def is_short(drawn: PendingRollout, settings: RolloutSettings, num_batches: int) -> bool:
    """Return whether a rollout needs another batch of inputs after ``num_batches``."""
    if drawn.num_tokens() < settings.num_tokens:
        return True
    if num_batches > settings.max_resamples:
        return False
    return int(deviating(drawn, settings).sum()) < settings.num_envs


def chosen_groups(drawn: PendingRollout, settings: RolloutSettings) -> PendingRollout:
    """Return the rollout with as many groups as one batch has, those that deviate before others."""
    if settings.max_resamples == 0:
        return drawn
    order = torch.argsort(~deviating(drawn, settings), stable=True)[: settings.num_envs]
    return drawn.of_groups(order.tolist(), settings.samples_per_input)


def deviating(drawn: PendingRollout, settings: RolloutSettings) -> Tensor:
    """Return [B] bool, true where the task's rewards of an input's outputs deviate."""
    scores = torch.from_numpy(drawn.totals()).view(-1, settings.samples_per_input)
    return deviates(scores, settings.zero_tol)
