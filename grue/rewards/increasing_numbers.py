"""The reward of growing numbers."""

from __future__ import annotations

from grue.metrics import increasing_numbers
from grue.metrics.increasing_numbers import IncreasingNumbersArgs
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


@REWARDS.register("increasing_numbers")
class IncreasingNumbers(OfMetric[IncreasingNumbersArgs]):
    """The share of growing numbers, from 0 to 1."""

    metric_class = increasing_numbers.IncreasingNumbers
    key = "synthetic/increasing_numbers_in_text"
