"""Differences between configurations, paired by seed, with bootstrap intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from plots.report.runs import ReportRun, labels

CONFIDENCE = 0.95
"""Probability with which an interval covers the mean difference."""
MOST = 60
"""Number of comparisons that are shown at most."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """Mean difference of the scores of two configurations over the seeds that both have."""

    first: str
    second: str
    score: str
    """Metric that is the score."""
    difference: float
    """Mean of the first's score minus the second's."""
    low: float | None
    high: float | None
    """Ends of the interval; None for a single seed."""
    num_seeds: int


def comparisons(runs: Sequence[ReportRun]) -> list[Comparison]:
    """Return all comparisons of configurations that have the same score, the surest ones first."""
    names = labels(runs)
    by_score: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        if run.state == "done" and run.score is not None:
            by_score[run.score_name][names[run.configuration]][run.seed] = run.score
    found = [one for score, scores in by_score.items() for one in _of_score(score, scores)]
    return sorted(found, key=_unsureness)[:MOST]


def _of_score(score: str, scores: Mapping[str, Mapping[str, float]]) -> Iterator[Comparison]:
    for (first, own), (second, other) in combinations(scores.items(), 2):
        seeds = sorted(own.keys() & other.keys())
        if seeds:
            differences = np.array([own[seed] - other[seed] for seed in seeds])
            low, high = interval(differences)
            mean = float(differences.mean())
            yield Comparison(first, second, score, mean, low, high, len(seeds))


def interval(differences: np.ndarray) -> tuple[float | None, float | None]:
    """Return the percentile bootstrap interval of the mean of [n] paired differences.

    None without at least two of them.
    """
    if len(differences) < 2:
        return None, None
    rng = np.random.default_rng(0)
    draws = rng.choice(differences, (_RESAMPLES, len(differences))).mean(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _unsureness(found: Comparison) -> tuple[bool, float]:
    """Return the sort key: intervals without 0 first, then the largest differences."""
    has_zero = found.low is None or found.high is None or found.low <= 0 <= found.high
    return has_zero, -abs(found.difference)
