"""The rewards that a configuration may name."""

from __future__ import annotations

from typing import Any

from grue.rewards.reward import REWARDS, Reward


def find(name: str) -> type[Reward[Any]]:
    """The reward called ``name``.

    Raises:
        UserError: there is none.
    """
    return REWARDS.get(name)
