"""The keys of a metric."""

from __future__ import annotations

from typing import Any

from grue import metrics
from grue.metrics.metric import Metric
from grue.parts.config import PartConfig


class MetricConfig(PartConfig[Metric[Any]]):
    """What is measured of outputs."""

    @classmethod
    def find(cls, name: str) -> type[Metric[Any]]:
        """The class of the metric called ``name``."""
        return metrics.find(name)
