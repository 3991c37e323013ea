"""Resampling of groups without deviation (DAPO, arXiv 2503.14476, "dynamic sampling")."""

from __future__ import annotations

import torch
from torch import Tensor

from grue.rl.group_advantages import deviates
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.settings import RolloutSettings


def is_short(found: PendingRollout, settings: RolloutSettings, num_batches: int) -> bool:
    """Return whether a rollout needs another batch of inputs after ``num_batches``."""
    if found.num_tokens() < settings.num_tokens:
        return True
    resampling = settings.resampling
    if resampling is None or num_batches > resampling.max_resamples:
        return False
    return int(_deviating(found, settings, resampling.zero_tol).sum()) < settings.num_envs


def chosen_groups(found: PendingRollout, settings: RolloutSettings) -> PendingRollout:
    """Return the rollout with as many groups as one batch has, those that deviate before others."""
    if settings.resampling is None:
        return found
    mixed = _deviating(found, settings, settings.resampling.zero_tol)
    order = torch.argsort(~mixed, stable=True)[: settings.num_envs]
    return found.of_groups(order.tolist(), settings.samples_per_input)


def resampled(found: PendingRollout, settings: RolloutSettings) -> dict[str, float]:
    """Return by name how many groups were left out; nothing without resampling."""
    if settings.resampling is None:
        return {}
    return {"groups/num_resampled": float(found.num_left_out)}


def _deviating(found: PendingRollout, settings: RolloutSettings, tolerance: float) -> Tensor:
    """Return [B] whether the task's rewards of each input's outputs deviate."""
    scores = torch.from_numpy(found.totals()).view(-1, settings.samples_per_input)
    return deviates(scores, tolerance)
