"""Score of a run: its metric, and the direction of better values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SMALLER_IS_BETTER = ("loss", "error", "kl", "perplexity", "distance")
"""Words in the names of metrics for which smaller is better."""


def larger_is_better(metric: str | None) -> bool:
    """Return whether a larger value of a metric of this name is better.

    It is true for a name without a known word, and for none.
    """
    words = (metric or "").replace("/", " ").replace("_", " ").lower().split()
    return not any(word in _SMALLER_IS_BETTER for word in words)


@dataclass(frozen=True)
class Score:
    """A metric whose value ranks epochs and runs."""

    name: str
    largest: bool

    def of(self, metrics: Mapping[str, Any]) -> float | None:
        """Return the score of an epoch; None if the metric was not measured."""
        return metrics.get(self.name)

    def rank(self, metrics: Mapping[str, Any]) -> float | None:
        """Return a number that grows with the quality of an epoch; None without a score."""
        value = self.of(metrics)
        return None if value is None else value if self.largest else -value

    def improves(self, value: float, best: float, min_delta: float = 0.0) -> bool:
        """Return whether ``value`` is better than ``best`` by more than ``min_delta``."""
        return (value - best if self.largest else best - value) > min_delta


def last_values(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the last measured value of every metric."""
    return {name: value for row in rows for name, value in row.items()}


def best_values(rows: Sequence[Mapping[str, Any]], score: Score) -> dict[str, float]:
    """Return the metrics of the epoch with the best score; empty without one."""
    scored = [row for row in rows if score.of(row) is not None]
    if not scored:
        return {}
    best: Mapping[str, Any] = max(scored, key=lambda row: score.rank(row) or 0.0)
    return dict(best)
