"""Users' own rewards: a class like the built-in ones, or a plain function."""

from __future__ import annotations

import functools
from typing import Any

from common.custom.signatures import check_function, check_part
from common.errors import UserError
from grue.metrics.metric import NoArgs
from grue.parts.rl4lms_classes import what_to_change
from grue.parts.user_function import (
    PARAMETERS,
    TOKENS,
    UserFunction,
    name_of,
    of_columns,
    scores_of,
    takes_tokens,
)
from grue.rewards.reward import Reward, Rewards
from grue.texts import Texts


class FunctionReward(Reward[NoArgs]):
    """A user's function that scores outputs, or their tokens."""

    function: UserFunction

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] or [N, T] the function's numbers."""
        name = name_of(self.function)
        return scores_of(of_columns(self.function), texts, per_token=True, name=name)


def as_reward(part: Any) -> type[Reward[Any]]:
    """Return the reward class of a user's object: the class itself, or one around a function.

    Raises:
        UserError: it is neither, or does not take the arguments of one.
    """
    if isinstance(part, type):
        check_part(part, Reward, what_to_change(part))
        return part
    if not callable(part):
        raise UserError(f"expected a function or a reward class, not {part!r}")
    further = [TOKENS] if takes_tokens(part) else []
    check_function(part, name_of(part), *PARAMETERS, *further)
    return _around(part)


@functools.cache
def _around(function: UserFunction) -> type[FunctionReward]:
    """Return a class whose name in messages is the function's name in the plan."""
    module, _, name = name_of(function).partition(":")
    members = {
        "function": staticmethod(function),
        "needs_tokens": takes_tokens(function),
        "__module__": module,
        "__qualname__": name,
    }
    return type(name, (FunctionReward,), members)
