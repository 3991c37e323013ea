"""Rewards of every label for every input."""

from __future__ import annotations

import torch
from torch import Tensor

CORRECT = 1.0
WRONG_ON_CHANGED = 0.5
"""Published high initial reward of wrong answers on inputs whose label was changed."""


def reward_table(
    labels: Tensor,
    num_classes: int,
    *,
    min_reward: float,
    high_initial_reward_on: Tensor | None = None,
) -> Tensor:
    """Return the rewards r(x, y): +1 for the label, ``min_reward`` otherwise.

    Args:
        labels: [N] int64.
        num_classes: number of classes, C.
        min_reward: reward of a wrong answer.
        high_initial_reward_on: [N] bool, true for inputs whose wrong answers earn +0.5.

    Returns:
        [N, C] float32.
    """
    wrong = torch.full(labels.shape, min_reward, device=labels.device)  # [N]
    if high_initial_reward_on is not None:
        wrong = wrong.masked_fill(high_initial_reward_on.to(labels.device), WRONG_ON_CHANGED)
    table = wrong[:, None].repeat(1, num_classes)  # [N, C]
    return table.scatter(1, labels[:, None], CORRECT)
