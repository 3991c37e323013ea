"""Token rewards: those of the task, with penalties for outputs with the wrong end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from grue.policies.truncation import Truncation
from grue.rl.numeric_equality import centred, scale_of
from grue.rl.token_positions import chosen, put_back
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.settings import RolloutSettings


def task_rewards(
    found: PendingRollout,
    width: int,
    settings: RolloutSettings,
    truncation: Truncation | None,
    *,
    end: int | None,
) -> NDArray[np.float64]:
    """Return [N, T] the task's rewards of N outputs, for T = ``width``.

    An output without the token that truncates it gets the penalty of the settings at its last token
    instead. Where the settings name a length, a shorter output without its end-of-sequence token
    ``end`` gets nothing. Where they name a buffer, as many tokens before the longest allowed length
    cost 1 together, in equal parts, at an output's last token (DAPO's soft overlong punishment,
    arXiv 2503.14476, equation 13).
    """
    rewards = found.rewards(width)
    penalty, least = settings.penalty_reward_value, settings.unfinished_reward_from
    buffer, longest = settings.overlong_buffer, settings.generation.max_new_tokens
    for number, output in enumerate(found.outputs):
        if truncation is not None and penalty is not None and not truncation.is_met(output):
            rewards[number] = 0
            rewards[number, len(output) - 1] = penalty
        if least is not None and len(output) < least and (not output or output[-1] != end):
            rewards[number] = 0
        if buffer is not None and longest is not None:
            over = max(len(output) - (longest - buffer), 0)
            rewards[number, len(output) - 1] -= over / buffer
    return rewards


def standardize(rewards: Tensor, train_mask: Tensor) -> Tensor:
    """Return [N, T] the rewards of the tokens in ``train_mask`` with mean 0 and std 1; 0 elsewhere.

    Penalties are not standardized with them: where rewards do not deviate they would be all there
    is, whatever their coefficient.

    Args:
        rewards: [N, T] the task's rewards.
        train_mask: [N, T] bool, on the CPU.
    """
    used = chosen(rewards, train_mask)
    return put_back(centred(used) / scale_of(used), train_mask)
