"""Keys of ``env``: sampling of outputs, and their limits."""

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
    """Largest number of tokens of a prompt."""
    terminate_on_eos: Annotated[bool, IGNORED] = False
    """Accepted from published files and ignored: end-of-sequence ends an output in any case, unless
    ``generation_kwargs.ignore_eos`` is true."""
    prompt_truncation_side: Side = "left"
    """Side on which long prompts are truncated."""
    context_start_token: Annotated[int | None, IGNORED, COUNTS_AS_DEFAULT] = None
    """Accepted from published files and ignored: an encoder-decoder model's own first token is
    used."""
    penalty_reward_value: float | None = None
    """Reward of an output without ``truncate_token`` at an allowed index, in place of its own; None
    keeps its own."""
    priority_scale: Annotated[NonNegativeFloat, IGNORED, COUNTS_AS_DEFAULT] = 0.0
    """Accepted from published files and ignored: all inputs are drawn with equal probability."""


class EnvConfig(Config):
    """Sampling of outputs in reinforcement finetuning."""

    n_envs: PositiveInt = 1
    """Number of inputs whose outputs are sampled together."""
    args: EnvArgs
    """Limits of an output."""
