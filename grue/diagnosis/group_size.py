"""Probability of a silent group by its size: measured up to the number of samples, modelled above.

A group of G outputs is silent if their rewards are equal. Up to the K samples of each input the
share of silent groups is estimated without bias. Beyond, a beta-binomial model of rewards with two
values continues it: an input's probability p of the larger one, a right output, is drawn from
Beta(a, b), and a group is silent with probability E[p^G + (1 - p)^G].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.bootstrap import CONFIDENCE, Floats, bootstrap, percentiles, tail_of_cases
from grue.rl.reward_stats import prob_zero_std, tolerances

_MODEL_RESAMPLES = 200
"""Number of resamples with a fit of the model each."""
_LARGEST_LOG = 12.0
"""Bound on |log a| and |log b|: beyond e^12 a beta distribution is a point."""
LARGEST_GROUP = 2**20
"""Largest size of a group that is searched for."""


@dataclass(frozen=True)
class Estimate:
    """Number with its interval over inputs."""

    value: float
    low: float
    high: float


def estimated(values: Floats, statistic: Callable[[Floats], float], *, seed: int) -> Estimate:
    """Return a statistic of inputs with its bootstrap interval; see `common.bootstrap`."""
    low, high = bootstrap(values, statistic, seed=seed)
    return Estimate(float(statistic(values)), float(low), float(high))


def silent_share(
    rewards: Floats, group_size: int, zero_tol: float | None, *, seed: int
) -> Estimate:
    """Return the unbiased share of silent groups of a size up to K.

    Args:
        rewards: [N, K].
        group_size: G, from 2 to K.
        zero_tol: see `grue.rl.reward_stats.zero_std`.
        seed: seed of the interval.
    """
    return mean_share(prob_zero_std(rewards, group_size, zero_tol), seed=seed)


def mean_share(by_input: Floats, *, seed: int) -> Estimate:
    """Return the mean of the inputs' shares [N], each from 0 to 1.

    If all are alike, drawn again they would be the same: the interval is the exact binomial one
    (Clopper-Pearson).
    """
    if (by_input != by_input[0]).any():
        return estimated(by_input, lambda values: float(values.mean()), seed=seed)
    from scipy.stats import binomtest

    share = float(by_input[0])
    result = binomtest(round(share * len(by_input)), len(by_input))
    interval = result.proportion_ci(CONFIDENCE, method="exact")
    return Estimate(share, float(interval.low), float(interval.high))


def _num_right(rewards: Floats, zero_tol: float | None) -> NDArray[np.int64] | None:
    """Return [N] the number of each input's outputs with the larger of two rewards.

    None for rewards that the beta-binomial model cannot continue, since they have more values, or
    one: of equal ones it would only say that nothing ever deviates. Values count as one within the
    tolerance by which groups are silent.

    Args:
        rewards: [N, K].
        zero_tol: see `grue.rl.reward_stats.zero_std`.
    """
    equal = tolerances(rewards, zero_tol)
    is_smaller, is_larger = rewards - rewards.min() <= equal, rewards.max() - rewards <= equal
    if (is_smaller == is_larger).any():  # near both, or neither
        return None
    return np.asarray(is_larger.sum(1), dtype=np.int64)


@dataclass(frozen=True)
class BetaBinomial:
    """Model of the number of right outputs: p of an input is drawn from Beta(a, b)."""

    a: float
    b: float

    @classmethod
    def fit(cls, num_right: NDArray[np.int64], num_samples: int) -> BetaBinomial:
        """Return the model of largest likelihood.

        Args:
            num_right: [N] right outputs of each input.
            num_samples: K, the number of outputs of each input.
        """
        from scipy.optimize import minimize
        from scipy.special import betaln, psi

        counts = np.bincount(num_right, minlength=num_samples + 1)
        right = np.arange(num_samples + 1)
        wrong = num_samples - right

        def loss(logs: Floats) -> tuple[float, Floats]:
            """Return -log likelihood, but for a constant, and its gradient in log a and log b."""
            a, b = np.exp(logs)
            found = betaln(right + a, wrong + b) - betaln(a, b)
            of_sum = psi(a + b) - psi(num_samples + a + b)
            slopes = (
                a * (counts @ (psi(right + a) - psi(a) + of_sum)),
                b * (counts @ (psi(wrong + b) - psi(b) + of_sum)),
            )
            return -float(counts @ found), -np.array(slopes)

        bounds = [(-_LARGEST_LOG, _LARGEST_LOG)] * 2
        # TNC makes no use of BLAS, whose threads would wait for each other at such sizes.
        logs = minimize(loss, np.zeros(2), method="TNC", jac=True, bounds=bounds).x
        return cls(*map(float, np.exp(logs)))

    def silent_share(self, group_size: int) -> float:
        """Return E[p^G + (1 - p)^G], with E[p^G] = B(a + G, b) / B(a, b)."""
        from scipy.special import betaln

        ratios = np.array([
            betaln(self.a + group_size, self.b) - betaln(self.a, self.b),
            betaln(self.a, self.b + group_size) - betaln(self.a, self.b),
        ])  # fmt: skip
        return float(np.exp(ratios).sum())


def modelled_silent_share(
    rewards: Floats, group_size: int, zero_tol: float | None, *, seed: int
) -> Estimate | None:
    """Return the share of silent groups of any size by the beta-binomial model.

    None for rewards of more or fewer than two values. The interval is that of inputs drawn again,
    each time with a fit of its own.

    Args:
        rewards: [N, K].
        group_size: G.
        zero_tol: see `grue.rl.reward_stats.zero_std`.
        seed: seed of the interval.
    """
    num_right, num_samples = _num_right(rewards, zero_tol), rewards.shape[1]
    if num_right is None:
        return None
    rng = np.random.default_rng(seed)
    draws = [
        BetaBinomial.fit(rng.choice(num_right, len(num_right)), num_samples).silent_share(
            group_size
        )
        for _ in range(_MODEL_RESAMPLES)
    ]
    low, high = percentiles(draws, tail=tail_of_cases(len(num_right)))
    model = BetaBinomial.fit(num_right, num_samples)
    return Estimate(model.silent_share(group_size), float(low), float(high))


@dataclass(frozen=True)
class GroupSize:
    """Smallest size of a group that leaves at most some share of the groups silent."""

    size: float
    """The size; infinity if none up to `LARGEST_GROUP` does, or if the rewards have no model."""
    by_model: bool
    """True if the beta-binomial model gave it, false if it is measured."""
    low: float
    """Lower end of its interval over inputs."""
    high: float
    """Upper end, which may be infinity."""


def group_sizes_for(
    rewards: Floats, shares: Sequence[float], zero_tol: float | None, *, seed: int
) -> dict[float, GroupSize]:
    """Return the smallest group size that leaves at most each of some shares of groups silent.

    Intervals are those of inputs drawn again, each time with a fit of its own.

    Args:
        rewards: [N, K].
        shares: shares of silent groups, 0 to 1.
        zero_tol: see `grue.rl.reward_stats.zero_std`.
        seed: seed of the intervals.
    """
    sizes = range(2, rewards.shape[1] + 1)
    silent = np.stack([prob_zero_std(rewards, size, zero_tol) for size in sizes], axis=1)
    num_right = _num_right(rewards, zero_tol)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_MODEL_RESAMPLES):
        rows = rng.integers(len(rewards), size=len(rewards))
        drawn = None if num_right is None else num_right[rows]
        draws.append([size for size, _ in _smallest(silent[rows], drawn, shares)])
    tail = tail_of_cases(len(rewards))
    lows, highs = percentiles(draws, tail=tail, method="nearest")  # some are infinite
    return {
        share: GroupSize(size, by_model, float(low), float(high))
        for share, (size, by_model), low, high in zip(
            shares, _smallest(silent, num_right, shares), lows, highs, strict=True
        )
    }


def _smallest(
    silent: Floats, num_right: NDArray[np.int64] | None, shares: Sequence[float]
) -> list[tuple[float, bool]]:
    """Return the smallest size for each share, and whether the model gave it.

    Args:
        silent: [N, K - 1] unbiased shares of silent groups of 2 to K outputs.
        num_right: [N] right outputs of each input; None for rewards without a model.
        shares: shares of silent groups.
    """
    measured, num_samples = silent.mean(0), silent.shape[1] + 1
    model = None
    found: list[tuple[float, bool]] = []
    for share in shares:
        few = np.flatnonzero(measured <= share)
        if len(few):
            found.append((float(few[0] + 2), False))
        elif num_right is None:
            found.append((math.inf, False))
        else:
            model = model or BetaBinomial.fit(num_right, num_samples)
            found.append((_smallest_of_model(model, num_samples, share), True))
    return found


def _smallest_of_model(model: BetaBinomial, least: int, share: float) -> float:
    """Return the smallest size above ``least`` that leaves a share; infinity if none does."""
    if model.silent_share(LARGEST_GROUP) > share:
        return math.inf
    low, high = least, LARGEST_GROUP  # the share falls with the size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if model.silent_share(middle) <= share else (middle, high)
    return float(high)
