"""Rollout settings of an iteration, from the keys of environment and algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grue.algorithms.args import HumanPreferencesPpoArgs
from grue.rollouts.settings import RolloutSettings

if TYPE_CHECKING:
    from grue.algorithms.config import ReinforcementAlg
    from grue.rollouts.config import EnvConfig


def rollout_settings(
    env: EnvConfig, alg: ReinforcementAlg, *, whole_outputs: bool
) -> RolloutSettings:
    """Return the rollout settings for the keys of environment and algorithm."""
    args = alg.args
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
    """Return the tokens in a minibatch of a rollout of ``num_tokens``, or in a part of it."""
    if isinstance(args, HumanPreferencesPpoArgs):
        return num_tokens // (args.nminibatches * args.gradient_accumulation_steps)
    return int(getattr(args, "batch_size", RolloutSettings.minibatch_tokens))
