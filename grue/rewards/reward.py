"""What a reward is: numbers for outputs, whole or token by token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.config.base import Config
from common.errors import UserError
from common.registry import Registry
from grue.metrics.metric import NoArgs
from grue.texts import Texts

Rewards = NDArray[np.float64]
"""[N] one number per output, or [N, T] one per token, zero after an output's end."""

ArgsT = TypeVar("ArgsT", bound=Config)


class Reward(ABC, Generic[ArgsT]):
    """Built once per run from its args; what is costly to load is loaded at the first use."""

    Args: ClassVar[type[Config]] = NoArgs
    """The model of the reward's keys (its ``args``)."""
    needs_references: bool = False
    """Whether every input needs a reference."""

    def __init__(self, args: ArgsT) -> None:
        self.args = args

    @classmethod
    def gives_std(cls) -> bool:
        """Whether the reward knows how sure it is."""
        return cls.mean_and_std is not Reward.mean_and_std

    def prepare(self) -> None:
        """Looks, before any run starts, for what the reward needs beside Python packages' code.

        Raises:
            UserError: something is missing.
        """

    @abstractmethod
    def __call__(self, texts: Texts) -> Rewards:
        """[N] or [N, T], in the reward's own units.

        Raises:
            UserError: what the reward needs is missing (a package, data, a reference).
        """

    def mean_and_std(self, texts: Texts) -> tuple[Rewards, Rewards]:
        """[N] expected rewards and [N] their standard deviations, in the same units.

        Raises:
            UserError: the reward does not know how sure it is.
        """
        raise UserError(
            "the reward has no standard deviation of its own; take 'learned_preference' with a "
            "model that was trained with the loss 'probabilistic'"
        )


REWARDS: Registry[type[Reward[Any]]] = Registry("reward")
