"""Weighted sum of rewards, such as one for the right answer and one for its form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, Strict

from common.config.base import Config
from common.config.resolve import resolve_valid_keys
from common.errors import Problem
from grue.parts.token_numbers import at_last_tokens, summed
from grue.rewards.checked import checked
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
    """Sum of rewards, each times its weight.

    Rewards of tokens are added token by token, and those of whole outputs at the last one.
    """

    Args = WeightedSumArgs

    def __init__(self, args: WeightedSumArgs) -> None:
        super().__init__(args)
        self._rewards = {part.called: part.build() for part in args.rewards}
        self.part_names = tuple(self._rewards)
        self.needs_references = any(part.needs_references for part in self._rewards.values())
        self.needed_metadata = [
            key for part in self._rewards.values() for key in part.needed_metadata
        ]
        self.needs_tokens = any(part.needs_tokens for part in self._rewards.values())
        self.largest = self.largest_of(args)

    @classmethod
    def names_of_parts(cls, args: WeightedSumArgs) -> Sequence[str]:
        """Return the names under which the rewards' means are logged."""
        return [part.called for part in args.rewards]

    @classmethod
    def weights_of_parts(cls, args: WeightedSumArgs) -> Mapping[str, float]:
        """Return the rewards' weights by name."""
        return {part.called: part.weight for part in args.rewards}

    @classmethod
    def largest_of(cls, args: WeightedSumArgs, part: str | None = None) -> float | None:
        """Return the largest sum, or the largest reward of a part, before it is built."""
        of_parts = {each.called: _largest(each) for each in args.rewards}
        if part is not None:
            return of_parts.get(part)
        return _largest_sum((each.weight, of_parts[each.called]) for each in args.rewards)

    def prepare(self) -> None:
        """Check the needs of all rewards."""
        for part in self._rewards.values():
            part.prepare()

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] sums, or [N, T] of each token.

        Raises:
            UserError: a reward fails, their number is wrong, or one is not finite.
        """
        return self.with_parts(texts)[0]

    def with_parts(self, texts: Texts) -> tuple[Rewards, Mapping[str, Rewards]]:
        """Return the sums, and [N] the rewards of whole outputs without their weights, by name."""
        found = {name: checked(part, texts) for name, part in self._rewards.items()}
        weights = np.array([part.weight for part in self.args.rewards])
        total = np.tensordot(weights, _alike(list(found.values()), texts.num_tokens), 1)
        return total, {name: summed(rewards) for name, rewards in found.items()}


def _largest(part: WeightedReward) -> float | None:
    """Return the largest reward of a part, before it is built; None if it is not known."""
    kind = part.find(part.id)
    args, _ = resolve_valid_keys(kind.Args, part.args)
    return None if args is None else kind.largest_of(args)


def _largest_sum(parts: Iterable[tuple[float, float | None]]) -> float | None:
    """Return the sum of weights times largest rewards.

    None if a reward's is not known, or a weight is below 0.
    """
    found = 0.0
    for weight, largest in parts:
        if largest is None or weight < 0:
            return None
        found += weight * largest
    return found


def _alike(parts: Sequence[Rewards], num_tokens: Sequence[int] | None) -> Rewards:
    """Return P rewards as [P, N]; as [P, N, T] if one is per token."""
    width = max((part.shape[1] for part in parts if part.ndim > 1), default=None)
    if width is None:
        return np.array(parts)
    assert num_tokens is not None, "rollouts tell where outputs end"
    rows = [
        at_last_tokens(part, num_tokens, width)
        if part.ndim == 1
        else np.pad(part, ((0, 0), (0, width - part.shape[1])))
        for part in parts
    ]
    return np.array(rows)
