"""The keys of ``env``: where outputs are sampled, and how long they may become."""

from __future__ import annotations

from typing import Annotated

from common.config.base import (
    COUNTS_AS_DEFAULT,
    IGNORED,
    Config,
)
from common.config.fit import NonNegativeFloat, PositiveInt
from grue.models.config import Side


class EnvArgs(Config):
    """Limits of an episode, which is one output."""

    max_episode_length: PositiveInt = 512
    """Largest number of tokens of an output."""
    max_prompt_length: PositiveInt
    """Most tokens of a prompt."""
    terminate_on_eos: Annotated[bool, IGNORED] = False
    """Accepted for published files: end-of-sequence ends an output either way, unless
    ``generation_kwargs.ignore_eos`` is true."""
    prompt_truncation_side: Side = "left"
    """Where long prompts are cut."""
    context_start_token: Annotated[int | None, IGNORED, COUNTS_AS_DEFAULT] = None
    """Accepted for published files: an encoder-decoder model's own first token is taken."""
    penalty_reward_value: float | None = None
    """Reward of an output without ``truncate_token`` where it counts, in place of its own; None
    leaves it its own."""
    priority_scale: Annotated[NonNegativeFloat, IGNORED, COUNTS_AS_DEFAULT] = 0.0
    """Accepted for published files, whose inputs all weigh the same: they are drawn alike."""


class EnvConfig(Config):
    """Where outputs are sampled in reinforcement finetuning."""

    n_envs: PositiveInt = 1
    """Inputs whose outputs are sampled together."""
    args: EnvArgs
    """Limits of an output."""
