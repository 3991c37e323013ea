"""Dates in texts, a synthetic objective."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from grue.metrics.metric import METRICS, Metric, NoArgs, Scores
from grue.texts import Texts

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@METRICS.register("dates")
class Dates(Metric[NoArgs]):
    """1 for a text with a date, as four, two and two digits joined by hyphens; otherwise 0."""

    names = ("synthetic/dates_in_text",)
    largest: ClassVar[Mapping[str, float]] = {"synthetic/dates_in_text": 1.0}

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] zeros and ones."""
        found = [_DATE.search(text) is not None for text in texts.outputs]
        return {"synthetic/dates_in_text": np.array(found, np.float64)}
