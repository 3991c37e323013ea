"""Rules for groups, the outputs of an input: which are silent, and what is drawn therefore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grue.rl.tolerance import TOLERANCE

DrawUntil = Literal["balanced", "positive"]


@dataclass(frozen=True, kw_only=True)
class DrawMore:
    """Rounds of outputs of the same inputs (Reinforce-Ada, arXiv 2510.04996)."""

    round_size: int
    """Number of outputs of an input that a round draws."""
    max_rounds: int
    """Largest number of rounds, the first one included."""
    until: DrawUntil
    """End of an input's rounds: K // 2 right outputs and as many wrong ones as K lacks, or one
    right output."""


@dataclass(frozen=True, kw_only=True)
class InputFilter:
    """Running pass rates of the inputs that are drawn; others are not drawn again."""

    least: float
    most: float
    solved: float
    """Rate from which on an input counts as solved; above 1 for none."""

    def keeps(self, rate: float) -> bool:
        """Return whether inputs of this running pass rate are drawn."""
        return self.least <= rate <= self.most and rate < self.solved


@dataclass(frozen=True, kw_only=True)
class GroupRules:
    """Rules for groups; the defaults draw each input's outputs once."""

    silent_by: str | None = None
    """Part of the task's reward that decides whether an input's outputs deviate; None for all."""
    zero_tol: float = TOLERANCE
    """Largest difference of equal rewards of an input, as a share of the largest |reward|."""
    best_reward: float = 1.0
    """Reward of a right output, by what decides."""
    max_resamples: int = 0
    """Largest number of further batches of inputs in place of those whose rewards do not deviate,
    for whole outputs without a mask."""
    draw_more: DrawMore | None = None
    """Rounds of outputs of the same inputs, of which K are kept; None for one draw of K."""
    hint_share: float | None = None
    """Share of a reference's tokens with which groups without a right output are drawn again, at
    the begin of training; it falls linearly to 0. None for no such draw."""
    input_filter: InputFilter | None = None
    """Inputs that are drawn, by their running pass rates; None for all."""


ONE_DRAW = GroupRules()
"""Rules that draw the outputs of each input once."""
