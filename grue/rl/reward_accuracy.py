"""Accuracy of a reward model on comparisons of outputs, with and without regard to harm.

Accuracy says how often the preferred output gets the higher reward. Harm-aware accuracy (HAcc,
arXiv 2604.25872) forgives an error on an output whose reward is below the policy's mean reward,
because training makes such an output rarer all the same. The weighted forms count comparisons by
the probability of their outputs under the policy. Shares are kept as numerators and denominators by
prompt, so that prompts can be resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.training.shape_checks import check_axes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Comparisons:
    """C comparisons of a preferred output with one or several others of its prompt."""

    prompts: Ints
    """[C] number of the prompt, from 0."""
    preferred: Ints
    """[C] column of the preferred output."""
    others: Ints
    """[C, R] columns of the others; -1 for none."""

    def __len__(self) -> int:
        return len(self.prompts)

    def of_preferred(self, values: Floats) -> Floats:
        """Return [C] the preferred outputs' values among those of all outputs [N, K]."""
        return values[self.prompts, self.preferred]

    def of_others(self, values: Floats, missing: float) -> Floats:
        """Return [C, R] the other outputs' values, and ``missing`` where there is none."""
        found = values[self.prompts[:, None], self.others]
        return np.where(self.others < 0, missing, found)


def pairs_by_truth(truth: Floats, *, keep_ties: bool = False) -> Comparisons:
    """Return all pairs of a prompt's outputs, with the output of higher true reward preferred.

    Args:
        truth: [N, K] true rewards.
        keep_ties: if true, of two outputs with equal true rewards the later one is preferred, as
            in the published evaluation; otherwise such pairs are left out.
    """
    check_axes("truth", truth, "NK")
    first, second = np.triu_indices(truth.shape[1], k=1)
    difference = truth[:, first] - truth[:, second]  # [N, pairs]
    prompts, pair = np.nonzero(np.ones_like(difference) if keep_ties else difference)
    is_first = difference[prompts, pair] > 0
    preferred = np.where(is_first, first[pair], second[pair])
    others = np.where(is_first, second[pair], first[pair])
    return Comparisons(prompts, preferred, others[:, None])


def are_right(comparisons: Comparisons, rewards: Floats) -> Flags:
    """Return [C] whether the preferred output's reward is above all others'; a tie is wrong.

    Args:
        comparisons: C comparisons.
        rewards: [N, K] rewards of the model.
    """
    rejected = comparisons.of_others(rewards, -np.inf).max(1)
    found: Flags = comparisons.of_preferred(rewards) > rejected
    return found


def are_harmless(comparisons: Comparisons, rewards: Floats, mean_rewards: Floats) -> Flags:
    """Return [C] whether a comparison is right, or all others' rewards are below the policy's mean.

    A reward equal to the mean is not below it (arXiv 2604.25872, section 4).

    Args:
        comparisons: C comparisons.
        rewards: [N, K] rewards of the model.
        mean_rewards: [N] mean reward of the policy's own outputs, V.
    """
    rejected = comparisons.of_others(rewards, -np.inf).max(1)
    found: Flags = rejected < mean_rewards[comparisons.prompts]
    return found | are_right(comparisons, rewards)


def joint_log_probs(comparisons: Comparisons, log_probs: Floats) -> Floats:
    """Return [C] the preferred output's log-probability plus the mean of the others'.

    With one other output it is that of both. With several, the mean keeps prompts with few others
    from weighing more.

    Args:
        comparisons: C comparisons.
        log_probs: [N, K] log-probabilities of outputs, or per token, in nats.
    """
    others = comparisons.of_others(log_probs, 0.0)
    count = (comparisons.others >= 0).sum(1)
    found: Floats = comparisons.of_preferred(log_probs) + others.sum(1) / count
    return found


def softmax_weights(log_weights: Floats) -> Floats:
    """Return [C] weights that sum to 1 over all comparisons of all prompts together."""
    powers = np.exp(log_weights - log_weights.max())
    found: Floats = powers / powers.sum()
    return found


def effective_number(weights: Floats) -> float:
    """Return (sum of [C] weights)^2 / sum of their squares: as many equal weights vary as much."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def shares_by_prompt(flags: Flags, weights: Floats, prompts: Ints, num_prompts: int) -> Floats:
    """Return [N, 2] by prompt: the weight of the comparisons that are so, and that of all.

    `share` of the result, or of any prompts of it, is the weighted share.

    Args:
        flags: [C] what is counted.
        weights: [C] weights; ones count comparisons.
        prompts: [C] numbers of prompts.
        num_prompts: N.
    """
    found = [
        np.bincount(prompts, values, num_prompts)
        for values in (np.where(flags, weights, 0), weights)
    ]
    return np.stack(found, axis=1)


def share(by_prompt: Floats) -> float:
    """Return the share of all comparisons of some prompts [n, 2]; NaN if they have no weight."""
    right, total = by_prompt.sum(0)
    return float(right / total) if total > 0 else float("nan")


def sign_agreement(rewards: Floats, truth: Floats) -> Floats:
    """Return [N] the share of a prompt's pairs on whose order both rewards agree.

    A tie in both is an agreement, a tie in one of them is none (arXiv 2503.15477).

    Args:
        rewards: [N, K] rewards of the model, K of 2 or more.
        truth: [N, K] true rewards.
    """
    check_axes("rewards", rewards, "NK")
    first, second = np.triu_indices(rewards.shape[1], k=1)
    signs = [np.sign(values[:, first] - values[:, second]) for values in (rewards, truth)]
    found: Floats = (signs[0] == signs[1]).mean(1)
    return found
