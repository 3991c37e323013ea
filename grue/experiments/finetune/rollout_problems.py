"""Problems of rollouts: keys of environment and algorithm that do not fit together."""

from __future__ import annotations

from collections.abc import Iterator

from common.errors import Problem
from grue.algorithms.config import ReinforcementAlg
from grue.algorithms.kl_config import KlDivConfig
from grue.policies.generation_config import GenerationConfig
from grue.policies.hf_generation_keys import PROCESSORS, WARPERS
from grue.rollouts.config import EnvConfig

_LARGEST_MOVE = 0.2
_GENERATION = "alg.policy.args.generation_kwargs"


def problems_of_rollouts(alg: ReinforcementAlg, env: EnvConfig) -> Iterator[Problem]:
    """Yield the problems of minibatches, of the penalty's coefficient, of draws and their ends."""
    if not alg.is_custom:
        yield from alg.args.problems_of_rollouts(alg, env)
    yield from _problems_of_coefficient(
        alg.kl_div, num_outputs=env.n_envs * alg.rollout_spec.samples_per_input
    )
    yield from _problems_of_draws(alg.policy.args.generation_kwargs)
    yield from _problems_of_ends(alg, env)


def _problems_of_coefficient(kl_div: KlDivConfig, *, num_outputs: int) -> Iterator[Problem]:
    """Yield the problems of a coefficient that its controller would bring to 0, or leave there."""
    adaptive = kl_div.adaptive_kl
    if adaptive is not None and _LARGEST_MOVE * num_outputs >= adaptive.horizon:
        least = int(_LARGEST_MOVE * num_outputs) + 1
        yield Problem(f"one rollout of {num_outputs} outputs could bring the coefficient to 0; "
                      f"give at least {least}",
                      "alg.kl_div.adaptive_kl.horizon", adaptive.horizon)  # fmt: skip
    targets = {"target_kl": kl_div.target_kl, "adaptive_kl": adaptive}
    follows = [key for key, target in targets.items() if target is not None]
    if follows and kl_div.coeff == 0:
        yield Problem(f"is multiplied to follow '{follows[0]}', and stays 0; give it a value, for "
                      f"example 0.1, or drop '{follows[0]}'", "alg.kl_div.coeff", 0.0)  # fmt: skip


def _problems_of_draws(settings: GenerationConfig) -> Iterator[Problem]:
    """Yield the problems of settings by which outputs are not drawn token by token."""
    if not settings.do_sample:
        yield Problem("must be true in rollouts: the most probable tokens are the same at each "
                      "draw, so that there is nothing to choose among", f"{_GENERATION}.do_sample",
                      False)  # fmt: skip
    if settings.num_beams > 1:
        yield Problem("rollouts sample each output separately; for evaluations give beams in "
                      "'train_evaluation.generation_kwargs'", f"{_GENERATION}.num_beams",
                      settings.num_beams)  # fmt: skip
    for name in sorted(settings.further.keys() - PROCESSORS - WARPERS):
        yield Problem("rollouts draw token by token, and take those keys of the library alone that "
                      "change a token's distribution (such as 'repetition_penalty', 'min_p'); for "
                      "evaluations give it in 'train_evaluation.generation_kwargs'",
                      f"{_GENERATION}.{name}", settings.further[name])  # fmt: skip


def _problems_of_ends(alg: ReinforcementAlg, env: EnvConfig) -> Iterator[Problem]:
    """Yield the problems of contradicting ends of outputs, and of ends that none can reach."""
    settings, limits = alg.policy.args.generation_kwargs, env.args
    longest = f"'env.args.max_episode_length' = {limits.max_episode_length}"
    if settings.ignore_eos and limits.terminate_on_eos:
        yield Problem(f"contradicts '{_GENERATION}.ignore_eos'; drop one of them",
                      "env.args.terminate_on_eos", True)  # fmt: skip
    if limits.penalty_reward_value is not None and settings.truncate_token is None:
        yield Problem(f"is for outputs without '{_GENERATION}.truncate_token'; give that too",
                      "env.args.penalty_reward_value", limits.penalty_reward_value)  # fmt: skip
    if settings.truncate_token is not None and (
        settings.truncate_after >= limits.max_episode_length
    ):
        yield Problem(f"no token has this index, for {longest}; lower it",
                      f"{_GENERATION}.truncate_after", settings.truncate_after)  # fmt: skip
    fewest = settings.fewest_new_tokens(is_encoder_decoder=alg.model_type == "seq2seq")
    if fewest > limits.max_episode_length:
        yield Problem(f"is more than {longest}", f"{_GENERATION}.min_length",
                      settings.min_length)  # fmt: skip


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
    if not alg.is_custom:
        yield from alg.args.notices_of_rollouts(alg, env)
