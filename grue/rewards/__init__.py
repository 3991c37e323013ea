"""The rewards that a configuration may name."""

from __future__ import annotations

from typing import Any

from grue.rewards import (
    bert_score,
    bleu,
    bleurt,
    chrf,
    common_gen,
    common_gen_preference_model,
    increasing_numbers,
    intent_accuracy,
    learned_preference,
    learned_reward,
    length,
    matches,
    meteor,
    parent,
    rouge,
    rouge_l_max,
    sentences_with_dates,
    spider,
    ter,
)
from grue.rewards.custom import as_reward
from grue.rewards.reward import REWARDS, Reward


def find(name: str) -> type[Reward[Any]]:
    """The reward called ``name``.

    Raises:
        UserError: there is none.
    """
    return as_reward(REWARDS.get(name))
