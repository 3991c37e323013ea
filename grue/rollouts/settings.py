"""Settings of rollouts, as plain values for the collector."""

from __future__ import annotations

from dataclasses import dataclass

from grue.models.config import Side
from grue.policies.generation_config import GenerationConfig
from grue.rollouts.group_rules import ONE_DRAW, GroupRules
from grue.rollouts.spec import MINIBATCH_TOKENS


@dataclass(frozen=True)
class RolloutSettings:
    """Sizes of a rollout, and the form of its rewards."""

    generation: GenerationConfig
    """Generation settings of outputs."""
    num_envs: int
    """Number of inputs whose outputs are sampled together."""
    num_tokens: int
    """Number of tokens of a rollout; outputs are sampled until there are as many."""
    whole_outputs: bool = False
    """If true, all tokens of all outputs are used for training, not only ``num_tokens``."""
    samples_per_input: int = 1
    """Number of outputs of each input, K."""
    prompt_limit: int = 512
    """Largest number of tokens of a prompt; less if the model lacks positions for prompt and
    output."""
    prompt_side: Side = "left"
    """Side on which long prompts are truncated."""
    minibatch_tokens: int = MINIBATCH_TOKENS
    """Number of tokens of an update's minibatch."""
    recompute_log_probs: bool = True
    """If true, log-probabilities are computed from whole outputs, not kept while drawing."""
    gamma: float = 0.99
    gae_lambda: float = 0.95
    kl_estimator: str = "k1"
    """Estimator of each token's KL: that of the whole vocabulary (``full``), or a name in
    `grue.rl.kl.KL_ESTIMATORS`."""
    kl_in_reward: bool = True
    """If true, the penalty is part of the rewards; otherwise the algorithm's loss has it."""
    pg_kl_in_advantages: bool = True
    """If true, a token's advantage has its own penalty; otherwise the algorithm's loss has it."""
    exact_kl_pushes_own_token: bool = True
    """If true, a token's own penalty of an exact KL in its advantage is that of the drawn token;
    otherwise it is exact, as for advantages of whole outputs, which sum up all penalties."""
    standardize_rewards: bool = False
    """If true, all rewards of a rollout are standardised to mean 0 and standard deviation 1."""
    with_reward_stds: bool = False
    """If true, the reward's standard deviations are recorded, see `Reward.mean_and_std`."""
    inputs_in_order: bool = False
    """If true, iterations take inputs in order, not at random; for one batch per iteration."""
    groups: GroupRules = ONE_DRAW
    """Rules for the outputs of an input."""
    group_by: str | None = None
    """Metadata key of inputs, by whose values shares of groups are also told; None for none."""
    overlong_buffer: int | None = None
    """Number of last tokens over which an output's length costs up to 1; None for no cost."""
    penalty_reward_value: float | None = None
    """Reward of an output that has no truncation token; None keeps its own."""
    unfinished_reward_from: int | None = None
    """Smallest length of a rewarded output without end-of-sequence; None rewards all. Published
    runs gave nothing if generation ended before the environment's own limit."""
