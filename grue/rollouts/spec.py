"""Specification of the rollouts that an algorithm needs."""

from __future__ import annotations

from dataclasses import dataclass

from grue.rollouts.group_rules import ONE_DRAW, GroupRules

MINIBATCH_TOKENS = 256
"""Number of tokens of a minibatch, if an algorithm does not set it."""


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """Rollouts that an algorithm needs.

    `AlgorithmArgs.rollout_spec` makes it from an algorithm's settings, also for users' algorithms.
    The estimation of returns has no default, so that a misspelt key cannot go unnoticed.
    """

    num_steps: int | None
    """Number of tokens of a rollout per output sampled at a time; None for all tokens of one batch
    of outputs."""
    gamma: float
    """Discount per token; 1 if rewards belong to whole outputs."""
    gae_lambda: float
    """GAE lambda, the exponential weight of advantage estimates (arXiv 1506.02438); 1 for plain
    returns."""
    samples_per_input: int
    """Number of outputs of each input, K."""
    minibatch_tokens: int | None = None
    """Number of tokens of an update's minibatch; None if the settings do not give it."""
    num_minibatches: int | None = None
    """Number of equal parts into which an update splits the outputs, instead of
    ``minibatch_tokens``."""
    micro_batch_size: int | None = None
    """Largest number of outputs computed at once; None for all of a minibatch."""
    needs_values: bool = True
    """If true, there is a critic."""
    pg_kl_in_advantages: bool = True
    """If true, a token's advantage contains its own KL penalty; otherwise the algorithm's loss
    does."""
    needs_reward_stds: bool = False
    """If true, the reward's standard deviations are recorded, see `Reward.mean_and_std`."""
    groups: GroupRules = ONE_DRAW
    """Rules for the outputs of an input."""
    overlong_buffer: int | None = None
    """Number of last tokens over which an output's length costs reward; None for no cost."""
    inputs_in_order: bool = False
    """If true, iterations take inputs in order, not at random."""
    dropout: bool = False
    """If true, the policy drops activations in rollouts and updates."""

    @property
    def whole_outputs(self) -> bool:
        """True if updates use all tokens of all outputs."""
        return self.num_steps is None

    def num_tokens(self, num_envs: int) -> int:
        """Return the number of tokens of a rollout with outputs of ``num_envs`` inputs at a time.

        Outputs are sampled until there are as many; with whole outputs, the first batch has enough.
        """
        return 1 if self.num_steps is None else self.num_steps * num_envs * self.samples_per_input

    def tokens_per_minibatch(self, num_outputs: int, longest: int) -> int:
        """Return the tokens computed at once of ``num_outputs`` outputs of ``longest`` tokens."""
        if self.num_minibatches is None:
            tokens = self.minibatch_tokens or MINIBATCH_TOKENS
        else:
            tokens = num_outputs * longest // self.num_minibatches
        if self.micro_batch_size is None:
            return tokens
        return min(tokens, self.micro_batch_size * longest)


WHOLE_OUTPUTS = RolloutSpec(
    num_steps=None, gamma=1.0, gae_lambda=1.0, samples_per_input=1, needs_values=False
)
"""Rollouts of whole outputs with their total rewards, without a critic."""
