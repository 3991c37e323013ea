"""A run's score: which metric, and which of two values is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SMALLER_IS_BETTER = ("loss", "error", "kl", "perplexity", "distance")
"""Words in the names of metrics that are costs."""


def larger_is_better(metric: str | None) -> bool:
    """Whether a metric of this name is a gain, such as an accuracy or a reward, and not a cost.

    True for one whose name tells nothing, and where there is none.
    """
    words = (metric or "").replace("/", " ").replace("_", " ").lower().split()
    return not any(word in _SMALLER_IS_BETTER for word in words)


@dataclass(frozen=True)
class Score:
    """A metric whose value ranks epochs and runs."""

    name: str
    largest: bool

    def of(self, metrics: Mapping[str, Any]) -> float | None:
        """The score of an epoch; None where the metric was not measured."""
        return metrics.get(self.name)

    def rank(self, metrics: Mapping[str, Any]) -> float | None:
        """A number that grows with the quality of an epoch; None where there is no score."""
        value = self.of(metrics)
        return None if value is None else value if self.largest else -value

    def improves(self, value: float, best: float, min_delta: float = 0.0) -> bool:
        """Whether ``value`` is better than ``best`` by more than ``min_delta``."""
        return (value - best if self.largest else best - value) > min_delta


def last_values(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The last measured value of every metric."""
    return {name: value for row in rows for name, value in row.items()}


def best_values(rows: Sequence[Mapping[str, Any]], score: Score) -> dict[str, float]:
    """The metrics of the epoch with the best score; empty where there is none."""
    scored = [row for row in rows if score.of(row) is not None]
    if not scored:
        return {}
    best: Mapping[str, Any] = max(scored, key=lambda row: score.rank(row) or 0.0)
    return dict(best)
