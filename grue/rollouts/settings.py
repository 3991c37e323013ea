"""How much a rollout collects, and how its tokens are rewarded."""

from __future__ import annotations

from dataclasses import dataclass

from grue.models.config import Side
from grue.policies.generation_config import GenerationConfig
from grue.rollouts.spec import MINIBATCH_TOKENS


@dataclass(frozen=True)
class RolloutSettings:
    """How much is collected, and how tokens are rewarded."""

    generation: GenerationConfig
    """How outputs are drawn."""
    num_envs: int
    """Inputs whose outputs are drawn together."""
    num_tokens: int
    """Tokens of a rollout; outputs are drawn until there are as many."""
    whole_outputs: bool = False
    """Whether updates use all tokens of all outputs, not only ``num_tokens`` of them."""
    samples_per_input: int = 1
    """K"""
    prompt_limit: int = 512
    """Most tokens of a prompt; fewer where the model has no positions for prompt and output."""
    prompt_side: Side = "left"
    """Where long prompts are cut."""
    minibatch_tokens: int = MINIBATCH_TOKENS
    """Tokens of an update's minibatch."""
    gamma: float = 0.99
    gae_lambda: float = 0.95
    analytic_kl: bool = False
    """Whether each token's KL is that of the whole vocabulary, not only of the token drawn."""
    kl_in_reward: bool = True
    """Whether the penalty is part of the rewards; otherwise the algorithm's loss has it."""
    pg_kl_in_advantages: bool = True
    """Whether a token's advantage has its own penalty; otherwise the algorithm's loss has it."""
    standardize_rewards: bool = False
    """Whether all rewards of a rollout are brought to mean 0 and standard deviation 1."""
    with_reward_stds: bool = False
    """Whether the reward also says how sure it is, see `Reward.mean_and_std`."""
    inputs_in_order: bool = False
    """Whether iterations take inputs one after the other, not at random; for one batch in each."""
    penalty_reward_value: float | None = None
    """Reward of an output that has no token to truncate it at; None leaves it its own."""
    unfinished_reward_from: int | None = None
    """Length from which an output without end-of-sequence is rewarded; None rewards all. Published
    runs gave nothing where generation ended before the environment's own limit."""
