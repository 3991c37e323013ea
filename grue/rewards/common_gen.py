"""A penalty for outputs that repeat their prompt."""

from __future__ import annotations

from grue.metrics.common_gen import repeats
from grue.metrics.metric import NoArgs
from grue.rewards.reward import REWARDS, Reward, Rewards
from grue.texts import Texts


@REWARDS.register("common_gen_repeat_penalty_batched")
@REWARDS.register("common_gen_repeat_penalty")
class RepeatPenalty(Reward[NoArgs]):
    """-1 for outputs with their prompt's concepts or words of its instruction, otherwise 0."""

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] -1 or 0."""
        return 0.0 - repeats(texts)
