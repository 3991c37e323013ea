"""Rewards that a configuration may name."""

from __future__ import annotations

from typing import Any

from grue.rewards import (
    common_gen,
    common_gen_preference_model,
    intent_accuracy,
    learned_preference,
    rouge,
    spider,
)
from grue.rewards import metric_rewards as catalogue
from grue.rewards.custom import as_reward
from grue.rewards.reward import REWARDS, Reward


def find(name: str) -> type[Reward[Any]]:
    """Return the reward called ``name``.

    Raises:
        UserError: there is no reward of this name.
    """
    return as_reward(REWARDS.get(name))
