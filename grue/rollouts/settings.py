"""Settings of rollouts, as plain values for the collector."""

from __future__ import annotations

from dataclasses import dataclass

from grue.models.config import Side
from grue.policies.generation_config import GenerationConfig
from grue.rl.tolerance import TOLERANCE
from grue.rollouts.spec import MINIBATCH_TOKENS, DrawMore, Hint, InputFilter


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
    standardize_rewards: bool = False
    """If true, all rewards of a rollout are standardised to mean 0 and standard deviation 1."""
    with_reward_stds: bool = False
    """If true, the reward's standard deviations are recorded, see `Reward.mean_and_std`."""
    inputs_in_order: bool = False
    """If true, iterations take inputs in order, not at random; for one batch per iteration."""
    max_resamples: int = 0
    """Largest number of further batches of inputs in place of those whose rewards do not
    deviate."""
    draw_more: DrawMore | None = None
    """Rounds of outputs of the same inputs, of which K are kept; None for one draw of K."""
    input_filter: InputFilter | None = None
    """Inputs that are drawn, by their running pass rates; None for all."""
    hint: Hint | None = None
    """Hints with which groups without a right output are drawn again; None for no such draw."""
    silent_by: str | None = None
    """Part of the task's reward that decides whether an input's outputs deviate; None for all."""
    zero_tol: float = TOLERANCE
    """Largest difference of equal rewards of an input, as a share of the largest |reward|."""
    group_by: str | None = None
    """Metadata key of inputs, by whose values shares of groups are also told; None for none."""
    overlong_buffer: int | None = None
    """Number of last tokens over which an output's length costs up to 1; None for no cost."""
    penalty_reward_value: float | None = None
    """Reward of an output that has no truncation token; None keeps its own."""
    unfinished_reward_from: int | None = None
    """Smallest length of a rewarded output without end-of-sequence; None rewards all. Published
    runs gave nothing if generation ended before the environment's own limit."""
