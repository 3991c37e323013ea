"""Settings of PPO as in "Fine-Tuning Language Models from Human Preferences"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.errors import Problem
from grue.algorithms.args.actor_critic import ActorCriticArgs
from grue.algorithms.args.fields import Fraction
from grue.algorithms.config import ReinforcementAlg, Schedule
from grue.rollouts.config import EnvConfig
from grue.rollouts.spec import RolloutSpec

_FEWEST_WHITENED = 8
"""Number of outputs from which the std of rewards is a sensible divisor, as in the published
code."""


class HumanPreferencesPpoArgs(ActorCriticArgs):
    """PPO as in "Fine-Tuning Language Models from Human Preferences" (arXiv 1909.08593).

    A rollout is one output for each of ``env.n_envs`` inputs.
    """

    learning_rate: PositiveFloat = 5e-6
    """Learning rate of the optimizer."""
    learning_rate_schedule: Schedule = "linear"
    """Learning rate of the i-th of n iterations, from 0: ``learning_rate`` (``constant``), times 1
    - i / n (``linear``), or times (1 + cos(pi i / n)) / 2 (``cosine``)."""
    gamma: Fraction = 1.0
    """Discount per token."""
    vf_coef: NonNegativeFloat = 0.1
    """Coefficient of the critic's loss."""
    max_grad_norm: PositiveFloat | None = None
    """Largest joint norm of the gradients of policy and critic, to which they are clipped; None
    does not clip."""
    n_epochs: PositiveInt = 4
    """Number of passes over a rollout; ``noptepochs`` in the published code."""
    nminibatches: PositiveInt = 4
    """Number of minibatches of equal size in a pass, each with a step."""
    gradient_accumulation_steps: PositiveInt = 1
    """Number of parts of a minibatch that are computed one after the other, to save memory; each is
    whitened separately."""
    clip_range: PositiveFloat = 0.2
    """Largest distance from 1 of a probability ratio before it is clipped."""
    clip_range_vf: PositiveFloat = 0.2
    """Largest change of a value from the old one before it is clipped, where clipping makes its
    error larger."""
    whiten_rewards: bool = True
    """If true, the rewards of a minibatch's tokens, KL penalties included, are scaled to standard
    deviation 1 with their mean kept, before advantages are computed."""

    @property
    def exact_kl_pushes_own_token(self) -> bool:
        """False, since the rewards that are whitened are all there is."""
        return False

    def rollout_spec(self) -> RolloutSpec:
        """Return rollouts of whole outputs, in equal minibatches."""
        return replace(self.rollouts_of(None), num_minibatches=self._num_parts)

    def problems_of_alg(self, alg: ReinforcementAlg) -> Iterator[Problem]:
        """Yield the problems of forms of the penalty that the algorithm does not support."""
        yield from super().problems_of_alg(alg)
        if alg.kl_div.norm_reward:
            yield Problem(f"'{alg.id}' whitens rewards with their penalties; use "
                          "'alg.args.whiten_rewards'", "kl_div.norm_reward", True)  # fmt: skip

    def problems_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[Problem]:
        """Yield the problems of unequal minibatches, or of minibatches too small for whitening."""
        yield from super().problems_of_rollouts(alg, env)
        parts = self._num_parts
        if env.n_envs % parts:
            yield Problem("must be a multiple of 'alg.args.nminibatches' x "
                          f"'alg.args.gradient_accumulation_steps' = {self.nminibatches} x "
                          f"{self.gradient_accumulation_steps}", "env.n_envs",
                          env.n_envs)  # fmt: skip
        elif self.whiten_rewards and env.n_envs // parts < _FEWEST_WHITENED:
            yield Problem(f"rewards are whitened among {env.n_envs // parts} outputs ('env.n_envs' "
                          f"= {env.n_envs} in {parts} parts), which needs at least "
                          f"{_FEWEST_WHITENED}; lower 'nminibatches' or "
                          "'gradient_accumulation_steps', or set it to false",
                          "alg.args.whiten_rewards", True)  # fmt: skip

    @property
    def _num_parts(self) -> int:
        """Number of parts of a rollout that are computed one after the other."""
        return self.nminibatches * self.gradient_accumulation_steps
