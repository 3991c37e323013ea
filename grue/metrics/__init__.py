"""The metrics that a configuration may name."""

from __future__ import annotations

from typing import Any

from grue.metrics.metric import METRICS, Metric


def find(name: str) -> type[Metric[Any]]:
    """The metric called ``name``.

    Raises:
        UserError: there is none.
    """
    return METRICS.get(name)
