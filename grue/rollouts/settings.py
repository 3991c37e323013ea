"""How much a rollout collects, and how its tokens are rewarded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grue.algorithms.args import HumanPreferencesPpoArgs
from grue.models.config import Side
from grue.policies.generation_config import GenerationConfig

if TYPE_CHECKING:
    from grue.algorithms.config import ReinforcementAlg
    from grue.experiments.finetune.config import EnvConfig


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
    minibatch_tokens: int = 256
    """Tokens of an update's minibatch."""
    gamma: float = 0.99
    gae_lambda: float = 0.95
    analytic_kl: bool = False
    """Whether each token's KL is that of the whole vocabulary, not only of the token drawn."""
    kl_in_reward: bool = True
    """Whether the penalty is part of the rewards; otherwise the algorithm's loss has it."""
    own_kl_in_advantages: bool = True
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


def rollout_settings(
    env: EnvConfig, alg: ReinforcementAlg, *, whole_outputs: bool
) -> RolloutSettings:
    """What is collected per iteration, from the keys of environment and algorithm."""
    args: Any = alg.args  # type: ignore[attr-defined]
    generation = alg.policy.args.generation_kwargs
    is_encoder_decoder = alg.model_type == "seq2seq"
    most = min(
        generation.most_new_tokens(is_encoder_decoder=is_encoder_decoder),
        env.args.max_episode_length,
    )
    num_outputs = env.n_envs * alg.samples_per_input
    cut = alg.behaves_as_published("no_reward_when_cut")
    return RolloutSettings(
        generation=generation.model_copy(update={"max_new_tokens": most}),
        num_envs=env.n_envs,
        num_tokens=1 if whole_outputs else args.n_steps * num_outputs,
        whole_outputs=whole_outputs,
        samples_per_input=alg.samples_per_input,
        minibatch_tokens=_minibatch_tokens(args, num_outputs * most),
        prompt_limit=env.args.max_prompt_length,
        prompt_side=env.args.prompt_truncation_side,
        gamma=getattr(args, "gamma", 1.0),
        gae_lambda=getattr(args, "gae_lambda", 1.0),
        analytic_kl=alg.kl_div.analytic_kl_reward,
        own_kl_in_advantages=not getattr(args, "analytic_kl_grad", False),
        kl_in_reward=alg.kl_div.placement == "reward",
        standardize_rewards=alg.kl_div.norm_reward,
        with_reward_stds=getattr(args, "advantage_regularization", "none") != "none",
        inputs_in_order=getattr(args, "inputs_in_order", False),
        penalty_reward_value=env.args.penalty_reward_value,
        unfinished_reward_from=env.args.max_episode_length if cut else None,
    )


def _minibatch_tokens(args: Any, num_tokens: int) -> int:
    """Tokens in a minibatch of a rollout of ``num_tokens``, or in a part of it."""
    if isinstance(args, HumanPreferencesPpoArgs):
        return num_tokens // (args.nminibatches * args.gradient_accumulation_steps)
    return int(getattr(args, "batch_size", RolloutSettings.minibatch_tokens))
