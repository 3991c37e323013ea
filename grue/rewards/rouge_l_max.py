"""ROUGE-L of each output against its best reference."""

from __future__ import annotations

from grue.metrics import rouge_l_max
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


@REWARDS.register("rouge_l_max")
class RougeLMax(OfMetric[rouge_l_max.RougeLMaxArgs]):
    """F of ROUGE-L, from 0 to 1."""

    metric_class = rouge_l_max.RougeLMax
    key = "lexical/rouge_l_max"
