"""Notices on schedules of reinforcement finetuning that go beyond its last iteration."""

from __future__ import annotations

from collections.abc import Iterator

from common.errors import Problem
from grue.algorithms.config import ReinforcementAlg
from grue.experiments.finetune.evaluation_keys import ReinforcementEvaluation
from grue.policies.config import MaskablePolicyArgs
from grue.rollouts.config import EnvConfig


def notices_of_schedules(
    alg: ReinforcementAlg, env: EnvConfig, evaluation: ReinforcementEvaluation
) -> Iterator[str]:
    """Yield notices on a warm-up that does not end, and on a mask that is never refreshed."""
    most, key = _most_iterations(alg, env, evaluation)
    warmup, policy = alg.args.warmup_iterations, alg.policy.args
    if warmup >= most:
        yield str(Problem(f"the run ends within its warm-up, after at most {most} iterations "
                          f"('{key}'), and never reaches 'alg.args.learning_rate'; lower it",
                          "alg.args.warmup_iterations", warmup))  # fmt: skip
    if not isinstance(policy, MaskablePolicyArgs) or policy.mask_type == "topk":
        return
    every = policy.target_update_iterations
    if every > most and not alg.reproduces_rl4lms("frozen_mask"):
        yield str(Problem(f"the mask model is never refreshed, in at most {most} iterations "
                          f"('{key}'); lower it", "alg.policy.args.target_update_iterations",
                          every))  # fmt: skip


def _most_iterations(
    alg: ReinforcementAlg, env: EnvConfig, evaluation: ReinforcementEvaluation
) -> tuple[int, str]:
    """Return the largest number of iterations, and the key that says so.

    An iteration draws the outputs of one batch of inputs, or more.
    """
    if evaluation.max_samples is not None:
        by_outputs = -(-evaluation.max_samples // (env.n_envs * alg.rollout_spec.samples_per_input))
        if by_outputs < evaluation.n_iters:
            return by_outputs, "train_evaluation.max_samples"
    return evaluation.n_iters, "train_evaluation.n_iters"
