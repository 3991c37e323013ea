"""Keys of a metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from grue import metrics
from grue.metrics.metric import METRICS, Metric
from grue.parts.config import PartConfig


class MetricConfig(PartConfig[Metric[Any]]):
    """A metric: its id and its own keys."""

    @classmethod
    def find(cls, name: str) -> type[Metric[Any]]:
        """Return the class of the metric called ``name``."""
        return metrics.find(name)


_ENDINGS = ("", "/pass_at_k/*", "_at_*")


def is_key(name: str) -> bool:
    """Return whether one of the project's metrics may measure ``name``."""
    patterns = [pattern for known in METRICS.names() for pattern in METRICS.get(known).names]
    return _matches(name, patterns)


def measure(metrics: Iterable[MetricConfig], name: str, more: Sequence[str] = ()) -> bool | None:
    """Return whether the metrics measure ``name``: a key of theirs, its pass@k, or that of a group.

    Names that match one of the patterns ``more`` are measured beside them. None if a user's metric
    does not tell its keys.
    """
    patterns = [*more]
    for metric in metrics:
        names = metric.find(metric.id).names
        if not names:
            return None
        patterns += names
    return _matches(name, patterns)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern + end) for pattern in patterns for end in _ENDINGS)
