"""Keys of ``alg.args``: each reinforcement algorithm's settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from common.config.base import COUNTS_AS_DEFAULT, IGNORED, Config
from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.errors import Problem

Fraction = Annotated[float, Field(ge=0, le=1)]
Verbosity = Annotated[int, IGNORED, COUNTS_AS_DEFAULT]


class ActorCriticArgs(Config):
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
    learning_rate_schedule: Literal["constant", "linear"] = "constant"
    """If true, the learning rate decays to zero over the iterations: in the i-th of n, from 0, it
    is ``learning_rate`` times 1 - i / n."""
    verbose: Verbosity = 0
    """Accepted from published files and ignored."""
    enforce_token_entropy_reg_estimate: bool = False
    """If true, the entropy is estimated from the sampled tokens instead of the vocabulary. While
    the policy is the one that drew them, the estimate's gradient is zero in expectation and adds
    noise alone."""
    num_samples_per_input: PositiveInt = 1
    """Number of outputs, K, of each of ``env.n_envs`` inputs: a rollout has K times as many tokens.
    With more than one, the reward's deviation per input is measured."""


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
    vocabulary, instead of a part of its advantage; later tokens' penalties stay rewards."""
    measure_gradient_noise: bool = False
    """If true, each update first measures, in an additional pass, the deviation of the policy's
    gradient over minibatches: ``grad_variance``, and ``grad_squared_mean`` to compare it with. It
    is measured before advantages are standardised and gradients clipped, so that runs can be
    compared."""


class NlpoArgs(PpoArgs):
    """PPO from a masked vocabulary (arXiv 2210.01241)."""


class HumanPreferencesPpoArgs(ActorCriticArgs):
    """PPO as in "Fine-Tuning Language Models from Human Preferences" (arXiv 1909.08593).

    A rollout is one output for each of ``env.n_envs`` inputs.
    """

    learning_rate: PositiveFloat = 5e-6
    """Learning rate of the optimizer."""
    learning_rate_schedule: Literal["constant", "linear"] = "linear"
    """If true, the learning rate decays to zero over the iterations: in the i-th of n, from 0, it
    is ``learning_rate`` times 1 - i / n."""
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


class TrpoArgs(Config):
    """Trust region policy optimization (arXiv 1502.05477)."""

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


class ReinforceArgs(Config):
    """REINFORCE over whole outputs (Williams 1992)."""

    learning_rate: PositiveFloat = 1e-5
    """Learning rate of the optimizer."""
    baseline: Literal[
        "none", "running_mean", "cumulative_mean", "leave_one_out", "group_standardized"
    ] = "leave_one_out"
    """Baseline that is subtracted from an output's reward: nothing, the exponential mean of earlier
    rollouts' rewards, the mean of all earlier outputs' rewards, the mean of the input's other
    outputs (RLOO), or the input's own mean with its std as divisor (GRPO)."""
    baseline_includes_own: bool = False
    """If true, ``cumulative_mean`` includes the output's own reward, which biases the gradient."""
    advantage_regularization: Literal["none", "one_over_one_plus_std"] = "none"
    """Weight of advantages: 1, or 1 / (1 + sigma) with sigma the reward's own standard deviation,
    for rewards that have one."""
    log_prob_of: Literal["response", "sequence"] = "response"
    """Tokens whose log-probability is trained: those of the response, up to its end-of-sequence, or
    all tokens of a batch, including prompts and padding, without attention mask. The latter is no
    policy gradient, but some published runs used it."""
    dropout: bool = False
    """If true, the policy drops activations as its configuration says. The dropout masks of
    sampling and of the update differ, and so do the probabilities."""
    inputs_in_order: bool = False
    """If true, rollouts take inputs in order, again and again, instead of at random."""
    num_samples_per_input: PositiveInt = 4
    """Number of outputs, K, of each input; ``env.n_envs`` is the number of inputs."""
    running_mean_decay: Fraction = 0.9
    """Decay of the running mean per rollout."""
    n_epochs: PositiveInt = 1
    """Number of passes over a rollout: 1, because the loss has no probability ratio to correct for
    more."""
    batch_size: PositiveInt = 1_000_000
    """Number of tokens in a minibatch, at least as many as a rollout can have, which makes one
    step."""
    ent_coef: float = 0.0
    """Coefficient of the entropy bonus."""
    max_grad_norm: PositiveFloat | None = 0.5
    """Largest norm of the gradients, to which they are clipped; None does not clip."""
    verbose: Verbosity = 0
    """Accepted as for the published algorithms, and ignored."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of baselines that have too few outputs, or cannot hold their own."""
        yield from super().problems()
        needs = self.baseline in ("leave_one_out", "group_standardized")
        if needs and self.num_samples_per_input < 2:
            yield Problem(f"'{self.baseline}' needs at least 2", "num_samples_per_input",
                          self.num_samples_per_input)  # fmt: skip
        if self.baseline_includes_own and self.baseline != "cumulative_mean":
            yield Problem("is for the baseline 'cumulative_mean'; drop one of them",
                          "baseline_includes_own", True)  # fmt: skip
