"""The settings of A2C, PPO and NLPO, and what the actor-critic algorithms share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.errors import Problem
from grue.algorithms.args.fields import Fraction, Verbosity
from grue.algorithms.config import AlgorithmArgs, ReinforcementAlg
from grue.rollouts.config import EnvConfig
from grue.rollouts.spec import RolloutSpec


class ActorCriticArgs(AlgorithmArgs):
    """What the actor-critic algorithms share."""

    learning_rate: PositiveFloat = 3e-4
    """Step size."""
    gamma: Fraction = 0.99
    """Discount per token."""
    gae_lambda: Fraction = 0.95
    """Exponential weight of advantage estimates (arXiv 1506.02438)."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: NonNegativeFloat = 0.5
    """Weight of the critic's loss."""
    max_grad_norm: PositiveFloat | None = 0.5
    """Gradients of policy and critic are clipped to this joint norm; None for no limit."""
    learning_rate_schedule: Literal["constant", "linear"] = "constant"
    """Whether the step size falls to zero over the iterations: in the i-th of n, from 0, it is
    ``learning_rate`` times 1 - i / n."""
    verbose: Verbosity = 0
    """Accepted for published files."""
    enforce_token_entropy_reg_estimate: bool = False
    """Whether the entropy is estimated from the sampled tokens instead of the vocabulary. On the
    policy that drew them the estimate's gradient is zero in expectation: it adds noise alone."""
    num_samples_per_input: PositiveInt = 1
    """K, the outputs of each of ``env.n_envs`` inputs: a rollout has K times as many tokens. With
    more than one, the reward's deviation per input is measured."""

    def rollouts_of(self, num_steps: int | None) -> RolloutSpec:
        """Return rollouts of ``num_steps`` tokens for each output drawn at a time; None for all."""
        return RolloutSpec(
            num_steps=num_steps,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            samples_per_input=self.num_samples_per_input,
        )

    def scheduled_learning_rate(self, progress: float) -> float | None:
        """Return the step size after ``progress`` of the iterations; None for a constant one."""
        is_linear = self.learning_rate_schedule == "linear"
        return self.learning_rate * (1 - progress) if is_linear else None

    def notices(self) -> Iterator[str]:
        """An entropy bonus that pushes nowhere."""
        yield from super().notices()
        if self.enforce_token_entropy_reg_estimate and self.ent_coef != 0:
            yield (
                "'alg.args.enforce_token_entropy_reg_estimate' with 'alg.args.ent_coef' = "
                f"{self.ent_coef}: as published, the estimate's gradient is zero in expectation "
                "while the policy is the one that drew the tokens, so it adds noise alone; without "
                "the key the entropy is exact"
            )


class A2cArgs(ActorCriticArgs):
    """Advantage actor-critic (arXiv 1602.01783)."""

    learning_rate: PositiveFloat = 7e-4
    """Step size."""
    gae_lambda: Fraction = 1.0
    """Exponential weight of advantage estimates; 1 for plain returns."""
    n_steps: PositiveInt = 5
    """Tokens per environment in a rollout."""
    rms_prop_eps: PositiveFloat = 1e-5
    """RMSprop's epsilon."""
    use_rms_prop: bool = True
    """RMSprop instead of AdamW."""
    normalize_advantage: bool = False
    """Whether advantages are standardised."""

    def rollout_spec(self) -> RolloutSpec:
        """Return ``n_steps`` tokens for each output drawn at a time."""
        return self.rollouts_of(self.n_steps)


class PpoArgs(ActorCriticArgs):
    """Proximal policy optimization (arXiv 1707.06347)."""

    n_steps: PositiveInt = 2048
    """Tokens per environment in a rollout."""
    batch_size: PositiveInt = 64
    """Tokens in a minibatch."""
    n_epochs: PositiveInt = 10
    """Passes over a rollout."""
    clip_range: PositiveFloat = 0.2
    """Probability ratios count up to this distance from 1."""
    clip_range_vf: PositiveFloat | None = None
    """Values count up to this distance from the old ones; None for no limit."""
    normalize_advantage: bool = True
    """Whether advantages are standardised per minibatch."""
    target_kl: PositiveFloat | None = None
    """Approximate KL, in nats, beyond 1.5 times of which an update ends early."""
    analytic_kl_grad: bool = False
    """Whether each token's own KL penalty is a loss, the divergence of the distributions over the
    vocabulary, instead of a part of its advantage; later tokens' penalties stay rewards.
    ``ppo_kl`` is the published name of PPO with it."""
    measure_gradient_noise: bool = False
    """Whether each update first measures, in one more pass, how the policy's gradient deviates from
    minibatch to minibatch: ``grad_variance``, and ``grad_squared_mean`` to compare with it;
    before advantages are standardised and gradients clipped, so that runs can be compared."""

    def rollout_spec(self) -> RolloutSpec:
        """Return ``n_steps`` tokens for each output drawn at a time, in minibatches."""
        return replace(
            self.rollouts_of(self.n_steps),
            minibatch_tokens=self.batch_size,
            pg_kl_in_advantages=not self.analytic_kl_grad,
        )

    def problems_of_alg(self, alg: ReinforcementAlg) -> Iterator[Problem]:
        """Two forms of the penalty that exclude each other."""
        yield from super().problems_of_alg(alg)
        if self.analytic_kl_grad:
            for key, value, unusual in (
                ("norm_reward", alg.kl_div.norm_reward, True),
                ("placement", alg.kl_div.placement, "loss"),
            ):
                if value == unusual:
                    yield Problem("does not go with 'alg.args.analytic_kl_grad'; drop one of them",
                                  f"kl_div.{key}", value)  # fmt: skip

    def problems_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[Problem]:
        """Minibatches larger than the rollout."""
        yield from super().problems_of_rollouts(alg, env)
        if self.batch_size > self._num_tokens(env):
            num_samples = self.num_samples_per_input
            several = f" x {num_samples}" if num_samples > 1 else ""
            yield Problem("is more than the rollout has: n_steps x env.n_envs = "
                          f"{self.n_steps} x {env.n_envs}{several} tokens",
                          "alg.args.batch_size", self.batch_size)  # fmt: skip

    def notices_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[str]:
        """A last minibatch that is smaller than others."""
        yield from super().notices_of_rollouts(alg, env)
        rest = self._num_tokens(env) % self.batch_size
        if rest:
            num_outputs = env.n_envs * self.num_samples_per_input
            yield (
                f"'alg.args.batch_size' = {self.batch_size} does not divide the rollout's "
                f"{self.n_steps} x {num_outputs} tokens ('n_steps' x outputs at a time): the last "
                f"minibatch of each pass has about {rest}, and its step counts as much as the "
                "others'"
            )

    def _num_tokens(self, env: EnvConfig) -> int:
        return self.n_steps * env.n_envs * self.num_samples_per_input


class NlpoArgs(PpoArgs):
    """PPO from a masked vocabulary (arXiv 2210.01241)."""

    uses_vocab_mask: ClassVar[bool] = True
