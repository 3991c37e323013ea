"""Weighted sum of rewards, such as one for the right answer and one for its form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, Strict

from common.config.base import Config
from common.errors import Problem, UserError
from grue.rewards.config import RewardConfig
from grue.rewards.reward import REWARDS, Reward, Rewards
from grue.texts import Texts


class WeightedReward(RewardConfig):
    """A reward of a weighted sum."""

    weight: float = 1.0
    """Factor of the reward in the sum."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None = None
    """Name under which the reward's mean is logged; None for the last part of its ``id``."""

    @property
    def called(self) -> str:
        """Name under which the reward's mean is logged."""
        return self.name or self.id.rpartition(":")[2].replace(".", "_")


class WeightedSumArgs(Config):
    """Keys of a weighted sum."""

    rewards: Annotated[tuple[WeightedReward, ...], Strict(False), Field(min_length=1)]
    """Rewards, each with its ``weight``."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the rewards, and of two with the same name."""
        yield from super().problems()
        for position, part in enumerate(self.rewards):
            yield from (problem.below(f"rewards[{position}]") for problem in part.problems())
        for called, count in Counter(part.called for part in self.rewards).items():
            if count > 1:
                yield Problem(f"{count} rewards are called '{called}', and their means would be "
                              "logged as one; give them different values of 'name'",
                              "rewards")  # fmt: skip


@REWARDS.register("weighted_sum")
class WeightedSum(Reward[WeightedSumArgs]):
    """Sum of rewards of whole outputs, each times its weight."""

    Args = WeightedSumArgs

    def __init__(self, args: WeightedSumArgs) -> None:
        super().__init__(args)
        self._rewards = {part.called: part.build() for part in args.rewards}
        self.part_names = tuple(self._rewards)
        self.needs_references = any(part.needs_references for part in self._rewards.values())
        self.largest = self._largest()

    def _largest(self) -> float | None:
        """Return the sum of the largest rewards, if all are known and no weight is below 0."""
        found = 0.0
        for part in self.args.rewards:
            largest = self._rewards[part.called].largest
            if largest is None or part.weight < 0:
                return None
            found += part.weight * largest
        return found

    @classmethod
    def names_of_parts(cls, args: WeightedSumArgs) -> Sequence[str]:
        """Return the names under which the rewards' means are logged."""
        return [part.called for part in args.rewards]

    def prepare(self) -> None:
        """Check the needs of all rewards."""
        for part in self._rewards.values():
            part.prepare()

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] sums.

        Raises:
            UserError: a reward fails, or gives one number per token.
        """
        return self.with_parts(texts)[0]

    def with_parts(self, texts: Texts) -> tuple[Rewards, Mapping[str, Rewards]]:
        """Return [N] sums, and [N] the rewards without their weights, by name."""
        parts = {name: _of_outputs(part(texts), name) for name, part in self._rewards.items()}
        weights = np.array([part.weight for part in self.args.rewards])
        return weights @ np.array(list(parts.values())), parts


def _of_outputs(rewards: Rewards, name: str) -> Rewards:
    if rewards.ndim > 1:
        raise UserError(
            f"'reward_fn.args.rewards': '{name}' gives one number for each token of an output; "
            "take rewards that give one number per output"
        )
    return rewards
