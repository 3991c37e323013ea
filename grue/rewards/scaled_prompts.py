"""Reward that is scaled for a share of prompts, which lowers its variance there."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from common.config.base import SeedNumber
from common.hashing import text_hash
from grue.rewards.of_reward import OfReward, OfRewardArgs
from grue.rewards.reward import REWARDS, Rewards
from grue.texts import Texts

_DIGITS = 13
"""Number of hex digits of a hash that make a number of double precision."""


class ScaledPromptsArgs(OfRewardArgs):
    """Keys of a reward that is scaled for some prompts."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability with which a prompt is chosen; published as ``scale_reward_for_frac_prompts``."""
    factor: float = 0.001
    """Factor of the chosen prompts' rewards; published as ``reward_scale_factor``."""
    offset: float = 0.0
    """Number that is added to all rewards first. The variance falls if the mean of the rewards is
    far from 0, for then scaling moves prompts apart."""
    seed: SeedNumber = 8122
    """Seed of the choice. A prompt is chosen by its text, alike in every run, split and order."""


@REWARDS.register("scaled_prompts")
class ScaledPrompts(OfReward[ScaledPromptsArgs]):
    """Reward plus an offset, times a factor for a share of prompts.

    A perfectly accurate reward keeps its order of outputs and loses variance (arXiv 2503.15477,
    section 4.1).
    """

    Args = ScaledPromptsArgs

    def changed(self, rewards: Rewards, texts: Texts) -> Rewards:
        """Return [N] rewards, some of them scaled."""
        chosen = np.array([self._chooses(prompt) for prompt in texts.prompts], dtype=bool)
        moved = rewards + self.args.offset
        return np.where(chosen, self.args.factor * moved, moved)

    def _chooses(self, prompt: str) -> bool:
        """Return whether a prompt's rewards are scaled."""
        number = int(text_hash(f"{self.args.seed} {prompt}")[:_DIGITS], 16)
        return bool(number < self.args.share * 16**_DIGITS)
