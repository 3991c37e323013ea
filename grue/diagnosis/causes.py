"""Causes of silent groups: equal outputs, or different outputs with equal rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grue.rl.reward_stats import reward_std, zero_std

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Causes:
    """Silent inputs by cause, each [N] flags; every silent input has exactly one cause."""

    equal_outputs: Flags
    """All outputs of the input are the same text, and not with the largest reward: sampling has too
    little randomness."""
    lowest: Flags
    """Different outputs, all with the lowest reward of the whole data: too hard."""
    largest: Flags
    """Outputs, different or not, with the largest reward of the whole data: solved."""
    between: Flags
    """Different outputs with the same reward between these: the reward is too coarse."""

    @property
    def silent(self) -> Flags:
        """Inputs whose rewards are equal."""
        return self.equal_outputs | self.lowest | self.largest | self.between


def causes_of(rewards: Floats, outputs: Sequence[Sequence[str]], zero_tol: float | None) -> Causes:
    """Return the cause of each silent input.

    Args:
        rewards: [N, K].
        outputs: K texts of each of N inputs.
        zero_tol: see `grue.rl.reward_stats.zero_std`.
    """
    silent = zero_std(rewards, zero_tol)
    same = have_equal_outputs(outputs)
    # An input has an extreme reward where that one beside its own leaves them equal.
    is_lowest, is_largest = (
        zero_std(np.column_stack([rewards, np.full(len(rewards), extreme)]), zero_tol)
        for extreme in (rewards.min(), rewards.max())
    )
    is_largest &= ~is_lowest
    others = silent & ~is_largest & ~same
    return Causes(
        equal_outputs=silent & ~is_largest & same,
        lowest=others & is_lowest,
        largest=silent & is_largest,
        between=others & ~is_lowest,
    )


def have_equal_outputs(outputs: Sequence[Sequence[str]]) -> Flags:
    """Return [N] whether all outputs of each of N inputs are the same text."""
    return np.array([len(set(texts)) == 1 for texts in outputs])


def never_matches(rewards: Floats, zero_tol: float | None) -> bool:
    """Return whether all rewards of all inputs are equal: the reward may never match an output."""
    return bool(zero_std(rewards.reshape(1, -1), zero_tol)[0])


def varies_between_alone(rewards: Floats, zero_tol: float | None) -> bool:
    """Return whether rewards deviate between inputs, and within none of them."""
    return bool(zero_std(rewards, zero_tol).all()) and not never_matches(rewards, zero_tol)


def deviating_parts(parts: Mapping[str, Floats]) -> dict[str, float]:
    """Return the share of the within-input variance that each part of a summed reward has.

    The shares are those of the sum of the parts' mean variances; covariances are left out.

    Args:
        parts: by name, [N, K] rewards that are added up, times their weights.
    """
    variances = {
        name: float(np.square(reward_std(part, ddof=1)).mean()) for name, part in parts.items()
    }
    total = sum(variances.values())
    return {name: variance / total if total else 0.0 for name, variance in variances.items()}
