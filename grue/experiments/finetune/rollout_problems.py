"""Problems of rollouts: keys of environment and algorithm that do not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from common.errors import Problem
from grue.algorithms.config import HumanPreferencesPpoAlg, PpoAlg, ReinforceAlg, ReinforcementAlg
from grue.policies.library_keys import PROCESSORS, WARPERS

if TYPE_CHECKING:
    from grue.rollouts.config import EnvConfig

_FEWEST_WHITENED = 8
"""Number of outputs from which the std of rewards is a sensible divisor, as in the published
code."""
_LARGEST_MOVE = 0.2
_GENERATION = "alg.policy.args.generation_kwargs"


def problems_of_rollouts(alg: ReinforcementAlg, env: EnvConfig) -> Iterator[Problem]:
    """Yield the problems of minibatches, of contradicting ends of outputs, and of empty draws."""
    if isinstance(alg, ReinforceAlg):
        yield from _of_single_steps(alg, env)
    if isinstance(alg, HumanPreferencesPpoAlg):
        yield from _of_minibatches(alg, env)
    if isinstance(alg, PpoAlg):
        yield from _of_tokens(alg, env)
    adaptive, num_outputs = alg.kl_div.adaptive_kl, env.n_envs * alg.samples_per_input
    if adaptive is not None and _LARGEST_MOVE * num_outputs >= adaptive.horizon:
        least = int(_LARGEST_MOVE * num_outputs) + 1
        yield Problem(f"one rollout of {num_outputs} outputs could bring the coefficient to 0; "
                      f"give at least {least}",
                      "alg.kl_div.adaptive_kl.horizon", adaptive.horizon)  # fmt: skip
    follows = [key for key in ("target_kl", "adaptive_kl") if getattr(alg.kl_div, key) is not None]
    if follows and alg.kl_div.coeff == 0:
        yield Problem(f"is multiplied to follow '{follows[0]}', and stays 0; give it a value, for "
                      f"example 0.1, or drop '{follows[0]}'", "alg.kl_div.coeff", 0.0)  # fmt: skip
    settings = alg.policy.args.generation_kwargs
    if not settings.do_sample:
        yield Problem("must be true in rollouts: the most probable tokens are the same at each "
                      "draw, so that there is nothing to choose among", f"{_GENERATION}.do_sample",
                      False)  # fmt: skip
    if settings.num_beams > 1:
        yield Problem("rollouts draw each output by itself; for evaluations give beams in "
                      "'train_evaluation.generation_kwargs'", f"{_GENERATION}.num_beams",
                      settings.num_beams)  # fmt: skip
    for name in sorted(settings.further.keys() - PROCESSORS - WARPERS):
        yield Problem("rollouts draw token by token, and take those keys of the library alone that "
                      "change a token's distribution (such as 'repetition_penalty', 'min_p'); for "
                      "evaluations give it in 'train_evaluation.generation_kwargs'",
                      f"{_GENERATION}.{name}", settings.further[name])  # fmt: skip
    if settings.ignore_eos and env.args.terminate_on_eos:
        yield Problem(f"contradicts '{_GENERATION}.ignore_eos'; drop one of them",
                      "env.args.terminate_on_eos", True)  # fmt: skip
    if env.args.penalty_reward_value is not None and settings.truncate_token is None:
        yield Problem(f"is for outputs without '{_GENERATION}.truncate_token'; give that too",
                      "env.args.penalty_reward_value", env.args.penalty_reward_value)  # fmt: skip
    if settings.truncate_token is not None and (
        settings.truncate_after >= env.args.max_episode_length
    ):
        yield Problem("no token has this index, for 'env.args.max_episode_length' = "
                      f"{env.args.max_episode_length}; lower it",
                      f"{_GENERATION}.truncate_after", settings.truncate_after)  # fmt: skip


def notices_of_rollouts(alg: ReinforcementAlg, env: EnvConfig) -> Iterator[str]:
    """Yield notices on outputs, log-probabilities and minibatches that may surprise.

    These are sampling filters that the log-probabilities ignore, outputs that end before their own
    limit, and a last minibatch that is smaller than others.
    """
    settings = alg.policy.args.generation_kwargs
    if settings.further:
        yield (
            f"'{_GENERATION}': {', '.join(map(repr, settings.further))} changes which tokens are "
            "drawn; log-probabilities, ratios and KL are those of the policy without it, as for "
            "'top_k' and 'top_p' and as published"
        )
    most, longest = env.args.max_episode_length, settings.max_new_tokens
    if longest is not None and longest > most:
        yield (
            f"'{_GENERATION}.max_new_tokens' = {longest}: outputs of rollouts end after "
            f"'env.args.max_episode_length' = {most} tokens; evaluations know no such limit"
        )
    if not isinstance(alg, PpoAlg):
        return
    size, num_outputs = alg.args.batch_size, env.n_envs * alg.samples_per_input
    rest = alg.args.n_steps * num_outputs % size
    if rest:
        yield (
            f"'alg.args.batch_size' = {size} does not divide the rollout's {alg.args.n_steps} x "
            f"{num_outputs} tokens ('n_steps' x outputs at a time): the last minibatch of each "
            f"pass has about {rest}, and its step counts as much as the others'"
        )


def _of_tokens(alg: PpoAlg, env: EnvConfig) -> Iterator[Problem]:
    # A published file gives TRPO's critic more than there is, which means all of it.
    size, steps, num_samples = alg.args.batch_size, alg.args.n_steps, alg.samples_per_input
    if size > steps * env.n_envs * num_samples:
        several = f" x {num_samples}" if num_samples > 1 else ""
        yield Problem("is more than the rollout has: n_steps x env.n_envs = "
                      f"{steps} x {env.n_envs}{several} tokens",
                      "alg.args.batch_size", size)  # fmt: skip


def _of_single_steps(alg: ReinforceAlg, env: EnvConfig) -> Iterator[Problem]:
    """Yield the problem of several steps per rollout, whose later ones would be off-policy."""
    fix = ("'reinforce' has no ratio of probabilities, so that its later steps would follow a "
           "biased gradient; {}, or take 'alg.id' = 'ppo', whose clipped loss has it")  # fmt: skip
    if alg.args.n_epochs > 1:
        yield Problem(fix.format("set it to 1"), "alg.args.n_epochs", alg.args.n_epochs)
    is_encoder_decoder = alg.model_type == "seq2seq"
    settings = alg.policy.args.generation_kwargs
    if not is_encoder_decoder and settings.max_new_tokens is None:
        return  # which is told elsewhere
    longest = settings.most_new_tokens(is_encoder_decoder=is_encoder_decoder)
    most = env.n_envs * alg.samples_per_input * min(longest, env.args.max_episode_length)
    if alg.args.batch_size < most:
        drop = f"raise it to the most tokens of a rollout, {most}, or drop it"
        yield Problem(fix.format(drop), "alg.args.batch_size", alg.args.batch_size)


def _of_minibatches(alg: HumanPreferencesPpoAlg, env: EnvConfig) -> Iterator[Problem]:
    args = alg.args
    parts = args.nminibatches * args.gradient_accumulation_steps
    if env.n_envs % parts:
        yield Problem("must be a multiple of 'alg.args.nminibatches' x "
                      f"'alg.args.gradient_accumulation_steps' = {args.nminibatches} x "
                      f"{args.gradient_accumulation_steps}", "env.n_envs", env.n_envs)  # fmt: skip
    elif args.whiten_rewards and env.n_envs // parts < _FEWEST_WHITENED:
        yield Problem(f"rewards are whitened among {env.n_envs // parts} outputs ('env.n_envs' = "
                      f"{env.n_envs} in {parts} parts), which needs at least {_FEWEST_WHITENED}; "
                      "lower 'nminibatches' or 'gradient_accumulation_steps', or set it to false",
                      "alg.args.whiten_rewards", True)  # fmt: skip
