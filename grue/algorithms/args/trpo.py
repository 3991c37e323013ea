"""Settings of trust region policy optimization."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from grue.algorithms.args.fields import Fraction, Verbosity
from grue.algorithms.args.micro_batches import MicroBatchArgs
from grue.rollouts.spec import RolloutSpec


class TrpoArgs(MicroBatchArgs):
    """Trust region policy optimization (arXiv 1502.05477)."""

    single_process_fp32: ClassVar[bool] = True

    learning_rate: PositiveFloat = 1e-3
    """Learning rate of the critic."""
    n_steps: PositiveInt = 2048
    """Number of tokens per environment in a rollout."""
    batch_size: PositiveInt = 128
    """Number of tokens in one of the critic's minibatches."""
    gamma: Fraction = 0.99
    """Discount per token."""
    gae_lambda: Fraction = 0.95
    """GAE lambda, the exponential weight of advantage estimates."""
    cg_max_steps: PositiveInt = 15
    """Largest number of steps of the conjugate gradient."""
    cg_damping: NonNegativeFloat = 0.1
    """Damping, added to the Fisher matrix's diagonal."""
    line_search_shrinking_factor: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Factor by which the step shrinks until it is accepted."""
    line_search_max_iter: PositiveInt = 10
    """Largest number of tries of the line search."""
    n_critic_updates: PositiveInt = 10
    """Number of passes of the critic over a rollout."""
    normalize_advantage: bool = True
    """If true, advantages are standardised."""
    target_kl: PositiveFloat = 0.01
    """Radius of the trust region, in nats."""
    sub_sampling_factor: PositiveInt = 1
    """Number n, where every n-th output is used for the Fisher matrix."""
    num_samples_per_input: PositiveInt = 1
    """Number of outputs, K, of each of ``env.n_envs`` inputs: a rollout has K times as many tokens.
    With more than one, the reward's deviation per input is measured."""
    verbose: Verbosity = 0
    """Accepted from published files and ignored."""

    def rollout_spec(self) -> RolloutSpec:
        """Return rollouts of ``n_steps`` tokens per output sampled at a time."""
        return RolloutSpec(
            num_steps=self.n_steps,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            samples_per_input=self.num_samples_per_input,
            micro_batch_size=self.micro_batch_size,
            minibatch_tokens=self.batch_size,
        )
