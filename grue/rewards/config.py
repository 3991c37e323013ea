"""Keys of a reward."""

from __future__ import annotations

from typing import Any

from grue import rewards
from grue.parts.config import PartConfig
from grue.rewards.reward import Reward


class RewardConfig(PartConfig[Reward[Any]]):
    """A reward: its id and its own keys."""

    @classmethod
    def find(cls, name: str) -> type[Reward[Any]]:
        """Return the class of the reward called ``name``."""
        return rewards.find(name)
