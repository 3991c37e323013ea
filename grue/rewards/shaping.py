"""Reward shaping: a second reward that ``shaping_fn`` names is added."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

from common.config.base import Config, OptionalText
from common.errors import Problem, UserError
from grue.rewards.custom import as_reward
from grue.rewards.reward import REWARDS, Reward, Rewards
from grue.texts import Texts


class ShapedArgs(Config):
    """Key of a reward that can be shaped."""

    shaping_fn: OptionalText = None
    """Id of the reward to add, with its default keys; None adds nothing."""

    def missing(self) -> Iterator[Problem]:
        """Yield the needs of both rewards."""
        yield from super().missing()
        with contextlib.suppress(UserError, ValueError):  # which are told of the key
            added = REWARDS.get(self.shaping_fn).Args() if self.shaping_fn else None
            yield from () if added is None else added.missing()

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of an unknown reward, or of one that needs keys."""
        yield from super().problems()
        if self.shaping_fn is not None:
            try:
                _named(self.shaping_fn).Args()
            except UserError as error:
                yield Problem(str(error), "shaping_fn", self.shaping_fn)
            except ValueError:
                yield Problem("has keys that must be given, so it cannot shape another reward",
                              "shaping_fn", self.shaping_fn)  # fmt: skip


ArgsT = TypeVar("ArgsT", bound=ShapedArgs)


class Shaped(Reward[ArgsT]):
    """Sum of a reward and the one that ``shaping_fn`` names.

    The first reward is the next base class: ``class Meteor(Shaped[MeteorArgs],
    OfMetric[MeteorArgs])`` is a METEOR that can be shaped.
    """

    def __init__(self, args: ArgsT) -> None:
        super().__init__(args)
        self.shaping: Reward[Any] | None = None
        if args.shaping_fn is not None:
            shaping_class = _named(args.shaping_fn)
            self.shaping = shaping_class(shaping_class.Args())
            self.needs_references |= self.shaping.needs_references
            self.needs_tokens |= self.shaping.needs_tokens
            self.needed_metadata = [*self.needed_metadata, *self.shaping.needed_metadata]

    def prepare(self) -> None:
        """Check the needs of both rewards."""
        super().prepare()
        if self.shaping is not None:
            self.shaping.prepare()

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] the sum of both.

        Raises:
            UserError: one is per output and the other one per token.
        """
        rewards = super().__call__(texts)  # type: ignore[safe-super]  # of the class named after this
        if self.shaping is None:
            return rewards
        added = self.shaping(texts)
        if added.shape != rewards.shape:
            raise UserError(
                f"'shaping_fn' = '{self.args.shaping_fn}': gives {_per(added)}, which cannot be "
                f"added to {_per(rewards)}; take a reward that gives as many"
            )
        return rewards + added


def _named(name: str) -> type[Reward[Any]]:
    return as_reward(REWARDS.get(name))


def _per(rewards: Rewards) -> str:
    if rewards.ndim == 1:
        return "one number per output"
    return f"one number for each of {rewards.shape[1]} tokens of an output"
