"""The reward of dates."""

from __future__ import annotations

from grue.metrics.dates import Dates
from grue.metrics.metric import NoArgs
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


@REWARDS.register("sentences_with_dates")
class SentencesWithDates(OfMetric[NoArgs]):
    """1 for a text with a date such as 2023-10-31; 0 for another."""

    metric_class = Dates
    key = "synthetic/dates_in_text"
