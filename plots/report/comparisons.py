"""Differences between configurations, paired by seed, with bootstrap intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.bootstrap import bootstrap
from plots.report.configurations import Key
from plots.report.runs import ReportRun

LEAST_SEEDS = 5
"""Number of seeds from which on a difference has an interval: the bootstrap's over two or three
pairs of seeds is their range, which covers the mean with probability 0.5 or 0.75 alone."""
MOST = 60
"""Number of comparisons that are shown at most."""


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
    """Ends of the interval; None with fewer than `LEAST_SEEDS`."""
    num_seeds: int


def comparisons(runs: Sequence[ReportRun], names: Mapping[Key, str]) -> list[Comparison]:
    """Return the comparisons of configurations that have the same score, the surest ones first.

    Those without an interval come last.
    """
    by_score: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        if run.state == "done" and run.score is not None:
            by_score[run.score_name][names[run.configuration]][run.seed] = run.score
    found = [one for score, scores in by_score.items() for one in _of_score(score, scores)]
    return sorted(found, key=_unsureness)[:MOST]


def _of_score(score: str, scores: Mapping[str, Mapping[str, float]]) -> Iterator[Comparison]:
    by_seeds: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for first, second in combinations(scores, 2):
        seeds = tuple(seed for seed in scores[first] if seed in scores[second])
        by_seeds[seeds].append((first, second))
    for seeds, pairs in by_seeds.items():
        if not seeds:
            continue
        differences = np.array([
            [scores[first][seed] - scores[second][seed] for first, second in pairs]
            for seed in seeds
        ])  # fmt: skip
        ends = intervals(differences)
        means = differences.mean(0)
        for (first, second), mean, (low, high) in zip(pairs, means, ends, strict=True):
            yield Comparison(first, second, score, float(mean), low, high, len(seeds))


def intervals(differences: np.ndarray) -> list[tuple[float, float] | tuple[None, None]]:
    """Return the interval of each pair's mean difference.

    None with fewer seeds than `LEAST_SEEDS`.

    Args:
        differences: [seeds, pairs].
    """
    if len(differences) < LEAST_SEEDS:
        return [(None, None)] * differences.shape[1]
    lows, highs = bootstrap(differences, lambda drawn: drawn.mean(0), seed=0)
    return [(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]


def _unsureness(found: Comparison) -> tuple[int, float]:
    """Return the sort key: intervals without 0, with 0, none; the largest differences first."""
    if found.low is None or found.high is None:
        return 2, -abs(found.difference)
    return int(found.low <= 0 <= found.high), -abs(found.difference)
