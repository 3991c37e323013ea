"""What an algorithm needs of rollouts, said in one place."""

from __future__ import annotations

from dataclasses import dataclass

MINIBATCH_TOKENS = 256
"""Tokens of a minibatch where an algorithm does not say it."""


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """What an algorithm needs of the rollouts that it learns from.

    `AlgorithmArgs.rollout_spec` makes it of an algorithm's settings, a custom one's too. How
    returns are estimated has no default, so that a misspelt key cannot go unnoticed.
    """

    num_steps: int | None
    """Tokens of a rollout for each output drawn at a time; None for all tokens of one batch of
    outputs."""
    gamma: float
    """Discount per token; 1 where rewards are whole outputs'."""
    gae_lambda: float
    """Exponential weight of advantage estimates (arXiv 1506.02438); 1 for plain returns."""
    samples_per_input: int
    """K, the outputs of each input."""
    minibatch_tokens: int | None = None
    """Tokens of an update's minibatch; None where the settings do not say it."""
    num_minibatches: int | None = None
    """Equal parts into which an update splits the outputs, instead of ``minibatch_tokens``."""
    needs_values: bool = True
    """Whether there is a critic."""
    own_kl_in_advantages: bool = True
    """Whether a token's advantage holds its own KL penalty; otherwise the algorithm's loss does."""
    needs_reward_stds: bool = False
    """If true, the reward's standard deviations are recorded, see `Reward.mean_and_std`."""
    inputs_in_order: bool = False
    """Whether iterations take inputs one after the other, not at random."""
    dropout: bool = False
    """Whether the policy drops activations in rollouts and updates."""

    @property
    def whole_outputs(self) -> bool:
        """Whether updates use all tokens of all outputs."""
        return self.num_steps is None

    def num_tokens(self, num_envs: int) -> int:
        """Return the tokens of a rollout that draws outputs for ``num_envs`` inputs at a time.

        Outputs are drawn until there are as many; the first batch has the one of whole outputs.
        """
        return 1 if self.num_steps is None else self.num_steps * num_envs * self.samples_per_input

    def tokens_per_minibatch(self, most: int) -> int:
        """Return the tokens of a minibatch of a rollout that has ``most`` tokens."""
        if self.num_minibatches is not None:
            return most // self.num_minibatches
        return self.minibatch_tokens or MINIBATCH_TOKENS
