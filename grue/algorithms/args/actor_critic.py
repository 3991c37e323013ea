"""Settings of A2C, PPO and NLPO, and the base of actor-critic algorithms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.errors import Problem
from grue.algorithms.args.fields import Fraction, Verbosity
from grue.algorithms.args.micro_batches import MicroBatchArgs
from grue.algorithms.config import ReinforcementAlg, Schedule, notices_of_unread
from grue.policies.config import MaskablePolicyArgs
from grue.rollouts.config import EnvConfig
from grue.rollouts.spec import RolloutSpec


class ActorCriticArgs(MicroBatchArgs):
    """Keys that the actor-critic algorithms share."""

    learning_rate: PositiveFloat = 3e-4
    """Learning rate of the optimizer."""
    gamma: Fraction = 0.99
    """Discount per token."""
    gae_lambda: Fraction = 0.95
    """GAE lambda, the exponential weight of advantage estimates (arXiv 1506.02438)."""
    ent_coef: float = 0.0
    """Coefficient of the entropy bonus."""
    vf_coef: NonNegativeFloat = 0.5
    """Coefficient of the critic's loss."""
    max_grad_norm: PositiveFloat | None = 0.5
    """Largest joint norm of the gradients of policy and critic, to which they are clipped; None
    does not clip."""
    learning_rate_schedule: Schedule = "constant"
    """Learning rate of the i-th of n iterations, from 0: ``learning_rate`` (``constant``), times 1
    - i / n (``linear``), or times (1 + cos(pi i / n)) / 2 (``cosine``)."""
    verbose: Verbosity = 0
    """Accepted from published files and ignored."""
    enforce_token_entropy_reg_estimate: bool = False
    """If true, the entropy is estimated from the sampled tokens instead of the vocabulary. While
    the policy is the one that drew them, the estimate's gradient is zero in expectation and adds
    noise alone."""
    num_samples_per_input: PositiveInt = 1
    """Number of outputs, K, of each of ``env.n_envs`` inputs: a rollout has K times as many tokens.
    With more than one, the reward's deviation per input is measured."""

    def rollouts_of(self, num_steps: int | None) -> RolloutSpec:
        """Return rollouts of ``num_steps`` tokens per output sampled at a time.

        None for whole outputs.
        """
        return RolloutSpec(
            num_steps=num_steps,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            samples_per_input=self.num_samples_per_input,
            micro_batch_size=self.micro_batch_size,
        )

    def notices(self) -> Iterator[str]:
        """Yield the notice on an entropy bonus without effect."""
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
    """Learning rate of the optimizer."""
    gae_lambda: Fraction = 1.0
    """GAE lambda, the exponential weight of advantage estimates; 1 for plain returns."""
    n_steps: PositiveInt = 5
    """Number of tokens per environment in a rollout."""
    rms_prop_eps: PositiveFloat = 1e-5
    """Epsilon of RMSprop."""
    use_rms_prop: bool = True
    """If true, the optimizer is RMSprop instead of AdamW."""
    normalize_advantage: bool = False
    """If true, advantages are standardised."""

    def unread_keys(self) -> Iterator[tuple[str, str]]:
        """Yield the key of RMSprop, where the optimizer is another one."""
        yield from super().unread_keys()
        if not self.use_rms_prop:
            yield "rms_prop_eps", "with 'use_rms_prop' = false"

    def notices_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[str]:
        """Yield notices, including those on keys of another optimizer than RMSprop."""
        yield from super().notices_of_rollouts(alg, env)
        if not self.use_rms_prop:
            return
        keys = ("optimizer", "optimizer_kwargs", "weight_decay")
        yield from notices_of_unread(
            alg.policy.args,
            "alg.policy.args",
            ((name, "with RMSprop") for name in keys),
            otherwise=", or give 'alg.args.use_rms_prop' = false",
        )

    def rollout_spec(self) -> RolloutSpec:
        """Return rollouts of ``n_steps`` tokens per output sampled at a time."""
        return self.rollouts_of(self.n_steps)


class PpoArgs(ActorCriticArgs):
    """Proximal policy optimization (arXiv 1707.06347)."""

    n_steps: PositiveInt = 2048
    """Number of tokens per environment in a rollout."""
    batch_size: PositiveInt = 64
    """Number of tokens in a minibatch."""
    n_epochs: PositiveInt = 10
    """Number of passes over a rollout."""
    clip_range: PositiveFloat = 0.2
    """Largest distance from 1 of a probability ratio before it is clipped."""
    clip_range_vf: PositiveFloat | None = None
    """Largest change of a value from the old one before it is clipped; None does not clip."""
    normalize_advantage: bool = True
    """If true, advantages are standardised per minibatch."""
    target_kl: PositiveFloat | None = None
    """Target of the approximate KL, in nats; an update ends early when the KL exceeds 1.5 times
    this."""
    analytic_kl_grad: bool = False
    """If true, each token's own KL penalty is a loss, the KL of the distributions over the
    vocabulary, instead of a part of its advantage; later tokens' penalties stay rewards. ``ppo_kl``
    is the published name of PPO with it."""
    measure_gradient_noise: bool = False
    """If true, each update first measures, in an additional pass, the deviation of the policy's
    gradient over minibatches: ``grad_variance``, and ``grad_squared_mean`` to compare it with. It
    is measured before advantages are standardised and gradients clipped, so that runs can be
    compared."""

    def rollout_spec(self) -> RolloutSpec:
        """Return rollouts of ``n_steps`` tokens per output sampled at a time, in minibatches."""
        return replace(
            self.rollouts_of(self.n_steps),
            minibatch_tokens=self.batch_size,
            pg_kl_in_advantages=not self.analytic_kl_grad,
        )

    def problems_of_alg(self, alg: ReinforcementAlg) -> Iterator[Problem]:
        """Yield the problem of two forms of the penalty that exclude each other."""
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
        """Yield the problem of minibatches larger than the rollout."""
        yield from super().problems_of_rollouts(alg, env)
        if self.batch_size > self._num_tokens(env):
            num_samples = self.num_samples_per_input
            several = f" x {num_samples}" if num_samples > 1 else ""
            yield Problem("is more than the rollout has: n_steps x env.n_envs = "
                          f"{self.n_steps} x {env.n_envs}{several} tokens",
                          "alg.args.batch_size", self.batch_size)  # fmt: skip

    def notices_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[str]:
        """Yield the notice on a last minibatch that is smaller than others."""
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

    def notices_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[str]:
        """Yield notices, including those on keys of another kind of mask."""
        yield from super().notices_of_rollouts(alg, env)
        args = alg.policy.args
        if isinstance(args, MaskablePolicyArgs):
            yield from notices_of_unread(args, "alg.policy.args", args.unread_keys())
