"""Base class of rewards: one number per output, or one per token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.config.base import Config
from common.errors import UserError
from common.registry import Registry
from grue.metrics.metric import NoArgs
from grue.texts import Texts

Rewards = NDArray[np.float64]
"""[N] one number per output, or [N, T] one per token, zero after an output's end.

A user's reward may also give a list of N arrays, one per output with a number for each token.
"""

ArgsT = TypeVar("ArgsT", bound=Config)


class Reward(ABC, Generic[ArgsT]):
    """Reward of outputs.

    Built once per run from its args, with costly things loaded at first use.
    """

    Args: ClassVar[type[Config]] = NoArgs
    """Model of the reward's keys (its ``args``)."""
    needs_references: bool = False
    """If true, every input needs a reference."""
    needed_metadata: Sequence[str] = ()
    """Keys of the task's `Sample.metadata` without which it fails."""
    needs_tokens: bool = False
    """If true, `Texts.tokens` has the outputs' tokens, with the characters that each writes."""
    largest: float | None = None
    """Largest reward of an output, which is then right; None if it is not known."""
    part_names: Sequence[str] = ()
    """Names of the rewards of which this one is made, see `with_parts`; empty for none."""

    def __init__(self, args: ArgsT) -> None:
        self.args = args

    @classmethod
    def gives_std(cls) -> bool:
        """True if the reward has a standard deviation per output, see `moments`."""
        return cls.mean_and_std is not Reward.mean_and_std

    @classmethod
    def names_of_parts(cls, args: ArgsT) -> Sequence[str]:
        """Return `part_names` of a reward with these keys, before it is built."""
        return cls.part_names

    @classmethod
    def weights_of_parts(cls, args: ArgsT) -> Mapping[str, float]:
        """Return the factors of parts in the reward by name; a part without one counts once."""
        return {}

    @classmethod
    def largest_of(cls, args: ArgsT, part: str | None = None) -> float | None:
        """Return `largest` of a reward with these keys, or of a part, before it is built."""
        return cls.largest if part is None else None

    def prepare(self) -> None:
        """Check, before any run starts, that data, models and programs of the reward are there.

        Raises:
            UserError: something is missing.
        """

    @abstractmethod
    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] or [N, T] rewards, in the reward's own units.

        Raises:
            UserError: what the reward needs is missing (a package, data, a reference).
        """

    def with_parts(self, texts: Texts) -> tuple[Rewards, Mapping[str, Rewards]]:
        """Return the rewards, and [N] those of which they are made by the names `part_names`."""
        return self(texts), {}

    def mean_and_std(self, texts: Texts) -> tuple[Rewards, Rewards]:
        """Return [N] expected rewards and [N] their standard deviations, in the same units.

        Raises:
            UserError: the reward has no standard deviations.
        """
        raise UserError(
            "the reward has no standard deviation of its own; take 'learned_preference' with a "
            "model that was trained with the loss 'probabilistic'"
        )


REWARDS: Registry[type[Reward[Any]]] = Registry("reward")
