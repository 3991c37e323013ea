"""Scoring of outputs by a reward, with checks of shapes and finite numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from grue.parts.user_function import name_of, scores_of
from grue.rewards.reward import Reward, Rewards
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.policies.policy import Policy
    from grue.policies.prompt_encoder import Tokens
    from grue.rollouts.settings import RolloutSettings

Scored = tuple[NDArray[np.float64], Sequence[float]]
"""[] or [T] reward of an output, and [P] those of which it is made, or [1] its std."""


def score_outputs(
    reward: Reward[Any],
    texts: Texts,
    outputs: Sequence[Tokens],
    policy: Policy,
    settings: RolloutSettings,
) -> list[Scored]:
    """Return the rewards of n outputs, or of their tokens.

    With each come the P rewards of which it is made, in the order of its ``part_names``; or its
    standard deviation, if the settings have it.

    Args:
        reward: the run's.
        texts: the outputs with their prompts and references.
        outputs: their tokens.
        policy: the one that wrote them.
        settings: those of the rollout.

    Raises:
        UserError: the reward fails, their number is wrong, or one is not finite; an output is
            named.
    """
    if settings.with_reward_stds:
        return _with_stds(reward, texts)
    further: Rewards

    def rewards(texts: Texts) -> Rewards:
        nonlocal further
        found, parts = reward.with_parts(texts)
        further = np.array([parts[name] for name in reward.part_names]).reshape(-1, len(texts)).T
        return found

    tokens = policy.scored_tokens(outputs, settings.generation) if reward.needs_tokens else None
    texts = replace(texts, num_tokens=[len(output) for output in outputs], tokens=tokens)
    found = scores_of(rewards, texts, per_token=True, name=name_of(type(reward)))
    return list(zip(found, further, strict=True))


def _with_stds(reward: Reward[Any], texts: Texts) -> list[Scored]:
    """Return expected rewards and their standard deviations."""

    def mean_and_std(texts: Texts) -> list[tuple[Any, Any]]:
        return list(zip(*reward.mean_and_std(texts), strict=True))

    found = scores_of(mean_and_std, texts, per_token=True, name=name_of(type(reward)))
    return [(mean, std) for mean, *std in found]
