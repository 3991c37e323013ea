"""The keys of a reward."""

from __future__ import annotations

from typing import Any

from grue import rewards
from grue.parts.config import PartConfig
from grue.rewards.reward import Reward


class RewardConfig(PartConfig[Reward[Any]]):
    """What an output is worth."""

    @classmethod
    def find(cls, name: str) -> type[Reward[Any]]:
        """The class of the reward called ``name``."""
        return rewards.find(name)
