"""Base of rewards that change another reward of whole outputs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TypeVar

from common.config.base import Config
from common.errors import Problem
from grue.parts.token_numbers import summed
from grue.rewards.checked import checked
from grue.rewards.config import RewardConfig
from grue.rewards.reward import Reward, Rewards
from grue.texts import Texts


class OfRewardArgs(Config):
    """Key of a reward that changes another one."""

    reward: RewardConfig
    """Reward that is changed; one of tokens is summed over an output first."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the other reward's keys."""
        yield from super().problems()
        yield from (problem.below("reward") for problem in self.reward.problems())


ArgsT = TypeVar("ArgsT", bound=OfRewardArgs)


class OfReward(Reward[ArgsT]):
    """Reward that changes another one, whose needs are its own."""

    def __init__(self, args: ArgsT) -> None:
        super().__init__(args)
        self.reward = args.reward.build()
        self.needs_references = self.reward.needs_references
        self.needed_metadata = self.reward.needed_metadata
        self.needs_tokens = self.reward.needs_tokens

    def prepare(self) -> None:
        """Check the needs of the other reward."""
        self.reward.prepare()

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] changed rewards of whole outputs."""
        return self.changed(summed(checked(self.reward, texts)), texts)

    @abstractmethod
    def changed(self, rewards: Rewards, texts: Texts) -> Rewards:
        """Return [N] the changed rewards."""
