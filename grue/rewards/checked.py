"""Rewards with checks of shapes and finite numbers."""

from __future__ import annotations

from typing import Any

from grue.parts.user_function import name_of, scores_of
from grue.rewards.reward import Reward, Rewards
from grue.texts import Texts


def checked(reward: Reward[Any], texts: Texts) -> Rewards:
    """Return [N] or [N, T] rewards.

    Raises:
        UserError: the reward fails, their number is wrong, or one is not finite; an output is
            named.
    """
    return scores_of(reward, texts, per_token=True, name=name_of(type(reward)))
