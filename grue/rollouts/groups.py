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
    if settings.groups.draw_more is not None:
        size = settings.samples_per_input
        return drawn.of_rows([row for of in pools(drawn, settings) for row in kept_of(of, size)])
    if settings.groups.hint_share is not None:
        last = settings.samples_per_input
        return drawn.of_rows([row for of in drawn.rows_of_groups() for row in of[-last:]])
    if settings.groups.max_resamples:
        of_groups = drawn.rows_of_groups()
        chosen = deviating_groups(drawn, settings)
        return drawn.of_rows([row for group in chosen for row in of_groups[group]])
    return drawn


def groups_of(
    drawn: PendingRollout,
    kept: PendingRollout,
    settings: RolloutSettings,
    task_rewards: Callable[[PendingRollout, int], NDArray[np.float64]],
) -> Groups | None:
    """Return the verdicts on groups; None where the kept outputs' task rewards are all there is.

    A part of the reward may decide, and a pool decides as a whole and is the baseline. Costs of
    length decide on nothing: outputs that are wrong at different lengths are silent.

    Args:
        drawn: all scored outputs.
        kept: those that the update uses.
        settings: sizes and tolerance of the groups, and what decides on them.
        task_rewards: returns [N, T] the rewards of N outputs as the update has them, for a T.
    """
    decides = (settings.groups.draw_more, settings.groups.silent_by, settings.overlong_buffer)
    if all(each is None for each in decides):
        return None
    of_all = kept if settings.groups.draw_more is None else drawn
    deciding, rows = of_all.deciding(settings.groups.silent_by), of_all.rows_of_groups()
    variances = torch.tensor([deciding[of_group].var(ddof=1) for of_group in rows])
    first = torch.tensor([deciding[of_group[0]] for of_group in rows])
    means = None
    if settings.groups.draw_more is not None:
        rewards = task_rewards(drawn, max(map(len, drawn.outputs))).sum(1)
        means = torch.tensor([rewards[of_group].mean() for of_group in rows])
    return Groups(deviating(of_all, settings), variances, first, means)
