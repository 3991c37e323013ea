"""Rollout settings of a finetuning run."""

from __future__ import annotations

from grue.algorithms.config import ReinforcementAlg
from grue.rollouts.config import EnvConfig
from grue.rollouts.settings import RolloutSettings


def rollout_settings(
    env: EnvConfig, alg: ReinforcementAlg, *, group_by: str | None = None
) -> RolloutSettings:
    """Return the rollout settings for the keys of environment and algorithm.

    ``group_by`` is the metadata by whose values statistics are told.
    """
    spec, generation = alg.rollout_spec, alg.policy.args.generation_kwargs
    is_encoder_decoder = alg.model_type == "seq2seq"
    most = min(
        generation.most_new_tokens(is_encoder_decoder=is_encoder_decoder),
        env.args.max_episode_length,
    )
    buffer = spec.overlong_buffer
    cut = alg.reproduces_rl4lms("no_reward_when_cut")
    return RolloutSettings(
        generation=generation.model_copy(update={"max_new_tokens": most}),
        num_envs=env.n_envs,
        num_tokens=spec.num_tokens(env.n_envs),
        whole_outputs=spec.whole_outputs,
        samples_per_input=spec.samples_per_input,
        minibatch_tokens=spec.tokens_per_minibatch(env.n_envs * spec.samples_per_input, most),
        prompt_limit=env.args.max_prompt_length,
        prompt_side=env.args.prompt_truncation_side,
        recompute_log_probs=_recomputes(alg),
        gamma=spec.gamma,
        gae_lambda=spec.gae_lambda,
        kl_estimator=alg.kl_div.of_reward,
        pg_kl_in_advantages=spec.pg_kl_in_advantages,
        exact_kl_pushes_own_token=alg.args.exact_kl_pushes_own_token,
        kl_in_reward=alg.kl_div.placement == "reward",
        standardize_rewards=alg.kl_div.norm_reward,
        with_reward_stds=spec.needs_reward_stds,
        groups=spec.groups,
        group_by=group_by,
        overlong_buffer=buffer if buffer is not None and buffer <= most else None,
        inputs_in_order=spec.inputs_in_order,
        penalty_reward_value=env.args.penalty_reward_value,
        unfinished_reward_from=env.args.max_episode_length if cut else None,
    )


def _recomputes(alg: ReinforcementAlg) -> bool:
    """Return whether log-probabilities are computed again after drawing.

    In half width, those of a pass over whole outputs differ from those of decoding by far more than
    the first ratios may. With dropout, both passes drop other activations.
    """
    if alg.rollout_spec.dropout:
        return True
    if alg.args.recompute_log_probs is not None:
        return alg.args.recompute_log_probs
    return alg.policy.mixed_precision != "no" or alg.policy.dtype != "float32"
