"""Settings of REINFORCE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from common.config.fit import PositiveFloat, PositiveInt
from common.errors import Problem
from grue.algorithms.args.fields import Fraction, Verbosity
from grue.algorithms.args.micro_batches import MicroBatchArgs
from grue.algorithms.config import ReinforcementAlg
from grue.rollouts.config import EnvConfig
from grue.rollouts.spec import WHOLE_OUTPUTS, RolloutSpec


class ReinforceArgs(MicroBatchArgs):
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

    def unread_keys(self) -> Iterator[tuple[str, str]]:
        """Yield the key of another baseline."""
        yield from super().unread_keys()
        if self.baseline != "running_mean":
            yield "running_mean_decay", "without 'baseline' = 'running_mean'"
        if self.dropout and self.recompute_log_probs is False:
            yield "recompute_log_probs", "with 'dropout', which needs that pass"

    @property
    def exact_kl_pushes_own_token(self) -> bool:
        """False, since advantages are those of whole outputs."""
        return False

    def rollout_spec(self) -> RolloutSpec:
        """Return rollouts of whole outputs with their total rewards, without a critic."""
        return replace(
            WHOLE_OUTPUTS,
            samples_per_input=self.num_samples_per_input,
            micro_batch_size=self.micro_batch_size,
            minibatch_tokens=self.batch_size,
            needs_reward_stds=self.advantage_regularization != "none",
            inputs_in_order=self.inputs_in_order,
            dropout=self.dropout,
        )

    def problems_of_alg(self, alg: ReinforcementAlg) -> Iterator[Problem]:
        """Yield the problems of penalties without effect, and of keys that exclude each other."""
        yield from super().problems_of_alg(alg)
        if alg.kl_div.norm_reward:
            yield Problem("'reinforce' credits whole outputs: rewards that are centred token by "
                          "token would grow with an output's length; drop it, or take the baseline "
                          "'group_standardized'", "kl_div.norm_reward", True)  # fmt: skip
        by_tokens = alg.kl_div.placement == "loss" and alg.kl_div.of_loss != "full"
        if self.log_prob_of == "sequence" and by_tokens:
            yield Problem("needs the reference's log-probabilities of prompts, which "
                          "'args.log_prob_of' = 'sequence' has not; give 'full'",
                          "kl_div.estimator", alg.kl_div.estimator)  # fmt: skip
        if self.log_prob_of == "sequence" and alg.model_type == "seq2seq":
            yield Problem("is for causal models, whose prompts and outputs are one sequence; drop "
                          "it", "args.log_prob_of", "sequence")  # fmt: skip
        if self.dropout and alg.policy.gradient_checkpointing:
            yield Problem("does not go with 'policy.gradient_checkpointing', under which nothing "
                          "can be sampled; drop one of them", "args.dropout", True)  # fmt: skip

    def problems_of_rollouts(self, alg: ReinforcementAlg, env: EnvConfig) -> Iterator[Problem]:
        """Yield the problem of several steps per rollout, whose later ones would be off-policy."""
        yield from super().problems_of_rollouts(alg, env)
        fix = (
            "'reinforce' has no ratio of probabilities, so that its later steps would follow a "
            "biased gradient; {}, or take 'alg.id' = 'rloo' with 'alg.args.policy_loss' = "
            "'clipped', which has it"
        )
        if self.n_epochs > 1:
            yield Problem(fix.format("set it to 1"), "alg.args.n_epochs", self.n_epochs)
        is_encoder_decoder = alg.model_type == "seq2seq"
        settings = alg.policy.args.generation_kwargs
        if not is_encoder_decoder and settings.max_new_tokens is None:
            return  # which is told elsewhere
        longest = settings.most_new_tokens(is_encoder_decoder=is_encoder_decoder)
        most = env.n_envs * self.num_samples_per_input * min(longest, env.args.max_episode_length)
        if self.batch_size < most:
            drop = f"raise it to the most tokens of a rollout, {most}, or drop it"
            yield Problem(fix.format(drop), "alg.args.batch_size", self.batch_size)
