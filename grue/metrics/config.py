"""Keys of a metric."""

from __future__ import annotations

from typing import Any

from grue import metrics
from grue.metrics.metric import Metric
from grue.parts.config import PartConfig


class MetricConfig(PartConfig[Metric[Any]]):
    """A metric: its id and its own keys."""

    @classmethod
    def find(cls, name: str) -> type[Metric[Any]]:
        """Return the class of the metric called ``name``."""
        return metrics.find(name)
