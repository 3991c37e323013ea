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
    if num_batches > settings.groups.max_resamples:
        return False
    return int(deviating(drawn, settings).sum()) < settings.num_envs


def deviating_groups(drawn: PendingRollout, settings: RolloutSettings) -> list[int]:
    """Return as many groups as one batch has, those that deviate before others."""
    order = torch.argsort(~deviating(drawn, settings), stable=True)[: settings.num_envs]
    found: list[int] = order.tolist()
    return found


def deviating(drawn: PendingRollout, settings: RolloutSettings) -> Tensor:
    """Return [B] bool, true where the rewards of all outputs drawn of an input deviate."""
    of_groups = drawn.rows_of_groups()
    most = max(map(len, of_groups))  # fewer are filled up with the group's own
    rows = [[*rows, *rows[:1] * (most - len(rows))] for rows in of_groups]
    rules = settings.groups
    return deviates(torch.from_numpy(drawn.deciding(rules.silent_by)[rows]), rules.zero_tol)
