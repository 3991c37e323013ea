"""The settings of trust region policy optimization."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from grue.algorithms.args.fields import Fraction, Verbosity
from grue.algorithms.config import AlgorithmArgs
from grue.rollouts.spec import RolloutSpec


class TrpoArgs(AlgorithmArgs):
    """Trust region policy optimization (arXiv 1502.05477)."""

    single_process_fp32: ClassVar[bool] = True

    learning_rate: PositiveFloat = 1e-3
    """The critic's step size."""
    n_steps: PositiveInt = 2048
    """Tokens per environment in a rollout."""
    batch_size: PositiveInt = 128
    """Tokens in one of the critic's minibatches."""
    gamma: Fraction = 0.99
    """Discount per token."""
    gae_lambda: Fraction = 0.95
    """Exponential weight of advantage estimates."""
    cg_max_steps: PositiveInt = 15
    """Most steps of the conjugate gradient."""
    cg_damping: NonNegativeFloat = 0.1
    """Added to the Fisher matrix's diagonal."""
    line_search_shrinking_factor: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """The step shrinks by it while it is not accepted."""
    line_search_max_iter: PositiveInt = 10
    """Most tries of the line search."""
    n_critic_updates: PositiveInt = 10
    """Passes of the critic over a rollout."""
    normalize_advantage: bool = True
    """Whether advantages are standardised."""
    target_kl: PositiveFloat = 0.01
    """Radius of the trust region, in nats."""
    sub_sampling_factor: PositiveInt = 1
    """Every how many outputs count in the Fisher matrix."""
    num_samples_per_input: PositiveInt = 1
    """K, the outputs of each of ``env.n_envs`` inputs: a rollout has K times as many tokens. With
    more than one, the reward's deviation per input is measured."""
    verbose: Verbosity = 0
    """Accepted for published files."""

    def rollout_spec(self) -> RolloutSpec:
        """Return ``n_steps`` tokens for each output drawn at a time."""
        return RolloutSpec(
            num_steps=self.n_steps,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            samples_per_input=self.num_samples_per_input,
            minibatch_tokens=self.batch_size,
        )
