"""The keys of ``alg.args``: each reinforcement algorithm's settings."""

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
    vocabulary, instead of a part of its advantage; later tokens' penalties stay rewards."""
    measure_gradient_noise: bool = False
    """Whether each update first measures, in one more pass, how the policy's gradient deviates from
    minibatch to minibatch: ``grad_variance``, and ``grad_squared_mean`` to compare with it;
    before advantages are standardised and gradients clipped, so that runs can be compared."""


class NlpoArgs(PpoArgs):
    """PPO from a masked vocabulary (arXiv 2210.01241)."""


class HumanPreferencesPpoArgs(ActorCriticArgs):
    """PPO as in "Fine-Tuning Language Models from Human Preferences" (arXiv 1909.08593).

    A rollout is one output for each of ``env.n_envs`` inputs.
    """

    learning_rate: PositiveFloat = 5e-6
    """Step size."""
    learning_rate_schedule: Literal["constant", "linear"] = "linear"
    """Whether the step size falls to zero over the iterations: in the i-th of n, from 0, it is
    ``learning_rate`` times 1 - i / n."""
    gamma: Fraction = 1.0
    """Discount per token."""
    vf_coef: NonNegativeFloat = 0.1
    """Weight of the critic's loss."""
    max_grad_norm: PositiveFloat | None = None
    """Gradients of policy and critic are clipped to this joint norm; None for no limit."""
    n_epochs: PositiveInt = 4
    """Passes over a rollout; ``noptepochs`` in the published code."""
    nminibatches: PositiveInt = 4
    """Minibatches of equal size in a pass, each with a step."""
    gradient_accumulation_steps: PositiveInt = 1
    """Parts of a minibatch that are computed one after the other, to save memory; each is whitened
    by itself."""
    clip_range: PositiveFloat = 0.2
    """Probability ratios count up to this distance from 1."""
    clip_range_vf: PositiveFloat = 0.2
    """Values count up to this distance from the old ones, where that makes their error larger."""
    whiten_rewards: bool = True
    """Whether the rewards of a minibatch's tokens, KL penalties included, are brought to standard
    deviation 1, their mean kept, before advantages are computed."""


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


class TrpoArgs(Config):
    """Trust region policy optimization (arXiv 1502.05477)."""

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


class ReinforceArgs(Config):
    """REINFORCE over whole outputs (Williams 1992)."""

    learning_rate: PositiveFloat = 1e-5
    """Step size."""
    baseline: Literal[
        "none", "running_mean", "cumulative_mean", "leave_one_out", "group_standardized"
    ] = "leave_one_out"
    """What an output's reward is compared with: nothing, the exponential mean of earlier rollouts'
    rewards, the mean of all earlier outputs' rewards, that of the input's other outputs (RLOO), or
    the input's own mean and std (GRPO)."""
    baseline_includes_own: bool = False
    """Whether ``cumulative_mean`` counts the output's own reward too, which biases the gradient."""
    advantage_regularization: Literal["none", "one_over_one_plus_std"] = "none"
    """What advantages are multiplied by: nothing, or 1 / (1 + sigma) with sigma the reward's own
    standard deviation, by a reward that knows it."""
    log_prob_of: Literal["response", "sequence"] = "response"
    """Whose log-probability is raised and lowered: the response's, up to its end-of-sequence, or
    that of all there is in a batch, prompts and padding too, without attention mask: no policy
    gradient, but what some published runs did."""
    dropout: bool = False
    """Whether the policy drops activations as its configuration says, anew in sampling and in the
    update, so that the update's probabilities are not those of the draw."""
    inputs_in_order: bool = False
    """Whether rollouts take inputs in their order, again and again, instead of at random."""
    num_samples_per_input: PositiveInt = 4
    """K, the outputs of each input; ``env.n_envs`` is the number of inputs."""
    running_mean_decay: Fraction = 0.9
    """How much of the running mean a rollout leaves."""
    n_epochs: PositiveInt = 1
    """Passes over a rollout: 1, for there is no ratio of probabilities that more would need."""
    batch_size: PositiveInt = 1_000_000
    """Tokens in a minibatch: at least as many as a rollout can have, which is one step."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    max_grad_norm: PositiveFloat | None = 0.5
    """Gradients are clipped to this norm; None for no limit."""
    verbose: Verbosity = 0
    """Accepted as for the published algorithms."""

    def problems(self) -> Iterator[Problem]:
        """Baselines over an input's outputs need some, and one alone can hold its own reward."""
        yield from super().problems()
        needs = self.baseline in ("leave_one_out", "group_standardized")
        if needs and self.num_samples_per_input < 2:
            yield Problem(f"'{self.baseline}' needs at least 2", "num_samples_per_input",
                          self.num_samples_per_input)  # fmt: skip
        if self.baseline_includes_own and self.baseline != "cumulative_mean":
            yield Problem("is for the baseline 'cumulative_mean'; drop one of them",
                          "baseline_includes_own", True)  # fmt: skip
