"""The run's reward as a metric, so that evaluations show what is trained beside other metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grue.metrics.metric import Metric, NoArgs, Scores
from grue.parts.token_numbers import summed
from grue.rewards.checked import checked
from grue.rewards.reward import Reward
from grue.texts import Texts

REWARD = "reward"
"""Name of the metric, as in reward sampling."""


class RewardMetric(Metric[NoArgs]):
    """Reward of whole outputs, by the reward that the run trains on."""

    names = (REWARD,)

    def __init__(self, reward: Reward[Any]) -> None:
        super().__init__(NoArgs())
        self._reward = reward
        self.needs_references = reward.needs_references
        self.needed_metadata = reward.needed_metadata

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] rewards, in the reward's own units."""
        return {REWARD: summed(checked(self._reward, texts))}
