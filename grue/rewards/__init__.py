"""Rewards that a configuration may name."""

from __future__ import annotations

from typing import Any

from grue.rewards import (
    answers,
    common_gen,
    common_gen_preference_model,
    intent_accuracy,
    learned_preference,
    metric_rewards,
    normalized,
    precomputed,
    rouge,
    scaled_prompts,
    spider,
    weighted_sum,
)
from grue.rewards.custom import as_reward
from grue.rewards.reward import REWARDS, Reward


def find(name: str) -> type[Reward[Any]]:
    """Return the reward called ``name``.

    Raises:
        UserError: there is no reward of this name.
    """
    return as_reward(REWARDS.get(name))
