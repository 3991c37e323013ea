"""Measures of one reward as a teacher of a policy: numbers by prompt, and of all with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grue.diagnosis.group_size import Estimate, estimated
from grue.experiments.reward_model.metrics import correlation
from grue.rl import reward_accuracy as accuracy
from grue.rl.reward_accuracy import Comparisons
from grue.rl.reward_variance import normalized_variance, variance_within_prompts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outputs:
    """Up to K outputs of each of N prompts; NaN where a prompt has fewer."""

    rewards: Floats
    """[N, K] rewards of the model."""
    truth: Floats
    """[N, K] true rewards."""
    log_probs: Floats
    """[N, K] log-probabilities under the policy, in nats."""
    lengths: Floats
    """[N, K] numbers of tokens."""

    @property
    def log_probs_per_token(self) -> Floats:
        """[N, K] log-probabilities divided by lengths of at least 1."""
        return self.log_probs / np.maximum(self.lengths, 1)


@dataclass(frozen=True)
class Measure:
    """A number of a reward, from an array whose rows belong to prompts."""

    name: str
    data: Floats
    """[n, ...] one row per prompt, which intervals draw again."""
    of: Callable[[Floats], float]
    """Function of such rows."""
    by_prompt: Floats
    """[n] the number of each prompt alone; NaN where it has none."""

    def estimate(self, *, seed: int) -> Estimate:
        """Return the number of all prompts with its bootstrap interval."""
        return estimated(self.data, self.of, seed=seed)


def of_samples(outputs: Outputs, comparisons: Comparisons) -> Iterator[Measure]:
    """Yield the measures of a reward on the policy's own outputs.

    Args:
        outputs: samples of the policy, K of each prompt.
        comparisons: pairs of them, see `pairs_by_truth`.
    """
    rewards, truth = outputs.rewards, outputs.truth
    means = rewards.mean(1)
    yield from _of_comparisons("on_policy", outputs, comparisons, means)
    signs = accuracy.sign_agreement(rewards, truth)
    yield Measure("on_policy/sign_agreement", signs, _mean, signs)
    total = rewards.var(ddof=1)
    shares = (
        variance_within_prompts(rewards) / total if total > 0 else np.full(len(rewards), np.nan)
    )
    yield Measure("reward_variance", rewards, normalized_variance, shares)
    both = np.stack([rewards, truth], axis=1)  # [N, 2, K]
    within = np.array([correlation(*pair) for pair in both])
    yield Measure("correlation", both, _pearson, within)
    yield Measure("correlation_within_prompts", within, _mean, within)
    yield Measure("rank_correlation", both, _spearman, _rank_correlations(both))


def of_responses(
    outputs: Outputs, comparisons: Comparisons, mean_rewards: Floats
) -> Iterator[Measure]:
    """Yield the measures of a reward on responses of the data.

    Args:
        outputs: responses.
        comparisons: the preferred response of each prompt with all others, one against many where
            there are several.
        mean_rewards: [N] mean reward of the policy's own outputs.
    """
    yield from _of_comparisons("off_policy", outputs, comparisons, mean_rewards)


def _of_comparisons(
    kind: str, outputs: Outputs, comparisons: Comparisons, mean_rewards: Floats
) -> Iterator[Measure]:
    """Yield accuracy and harm-aware accuracy, unweighted and by the policy's probabilities."""
    if not len(comparisons):
        return
    right = accuracy.are_right(comparisons, outputs.rewards)
    harmless = accuracy.are_harmless(comparisons, outputs.rewards, mean_rewards)
    for suffix, weights in weights_by_suffix(outputs, comparisons).items():
        for name, flags in (("accuracy", right), ("harm_aware_accuracy", harmless)):
            shares = accuracy.shares_by_prompt(
                flags, weights, comparisons.prompts, len(outputs.rewards)
            )
            with np.errstate(invalid="ignore"):
                by_prompt = shares[:, 0] / shares[:, 1]
            yield Measure(f"{kind}/{name}{suffix}", shares, accuracy.share, by_prompt)


def weights_by_suffix(outputs: Outputs, comparisons: Comparisons) -> dict[str, Floats]:
    """Return [C] weights of comparisons: equal ones, and by probabilities per token or of texts.

    Those of whole texts are far from even: one comparison may have all the weight.
    """
    return {
        "": np.ones(len(comparisons)),
        "_weighted": _weights(comparisons, outputs.log_probs_per_token),
        "_weighted_by_texts": _weights(comparisons, outputs.log_probs),
    }


def _weights(comparisons: Comparisons, log_probs: Floats) -> Floats:
    return accuracy.softmax_weights(accuracy.joint_log_probs(comparisons, log_probs))


def best_against_others(truth: Floats, preferred: NDArray[np.int64] | None = None) -> Comparisons:
    """Return one comparison per prompt: the preferred response with all others.

    Args:
        truth: [N, K] true rewards; NaN where a prompt has fewer responses.
        preferred: [N] columns of the preferred responses; None for those of the highest true
            reward, without the prompts that have several such.
    """
    if preferred is None:
        preferred = np.nanargmax(truth, axis=1)
        is_single = (truth == np.nanmax(truth, axis=1, keepdims=True)).sum(1) == 1
    else:
        is_single = np.ones(len(truth), dtype=bool)
    columns = np.arange(truth.shape[1])
    is_other = (columns != preferred[:, None]) & ~np.isnan(truth)
    prompts = np.flatnonzero(is_single & is_other.any(1))
    return Comparisons(prompts, preferred[prompts], np.where(is_other, columns, -1)[prompts])


def _mean(values: Floats) -> float:
    """Return the mean of the values that there are; NaN for none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _pearson(both: Floats) -> float:
    """Return Pearson's correlation of all rewards with their true rewards [n, 2, K]."""
    return correlation(both[:, 0].ravel(), both[:, 1].ravel())


def _spearman(both: Floats) -> float:
    """Return Spearman's correlation: Pearson's of the ranks, with mean ranks of equal rewards."""
    from scipy.stats import rankdata

    return correlation(*(rankdata(both[:, side].ravel()) for side in (0, 1)))


def _rank_correlations(both: Floats) -> Floats:
    return np.array([_spearman(pair[None]) for pair in both])
