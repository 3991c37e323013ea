"""Groups of a rollout: the outputs of each input that its update uses, and what decides on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from grue.rl.group_advantages import Groups
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.pools import kept_of, pools
from grue.rollouts.resampling import deviating, deviating_groups
from grue.rollouts.settings import RolloutSettings


def kept_outputs(drawn: PendingRollout, settings: RolloutSettings) -> PendingRollout:
    """Return the outputs that the update uses, of as many groups as one batch has."""
    if settings.draw_more is not None:
        size = settings.samples_per_input
        return drawn.of_rows([row for of in pools(drawn, settings) for row in kept_of(of, size)])
    if settings.max_resamples:
        of_groups = drawn.rows_of_groups()
        chosen = deviating_groups(drawn, settings)
        return drawn.of_rows([row for group in chosen for row in of_groups[group]])
    return drawn


def pooled_groups(
    drawn: PendingRollout,
    settings: RolloutSettings,
    task_rewards: Callable[[PendingRollout, int], NDArray[np.float64]],
) -> Groups | None:
    """Return the groups of pools, which decide and are the baseline; None where nothing is pooled.

    ``task_rewards`` returns [N, T] the rewards of N outputs as the update has them, for a T.
    """
    if settings.draw_more is None:
        return None
    rewards = task_rewards(drawn, max(map(len, drawn.outputs))).sum(1)
    means = [rewards[pool.rows].mean() for pool in pools(drawn, settings)]
    return Groups(deviating(drawn, settings), torch.tensor(means))
