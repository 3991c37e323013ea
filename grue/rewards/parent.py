"""The reward PARENT."""

from __future__ import annotations

from grue.metrics.metric import NoArgs
from grue.metrics.totto.parent import ParentTotto
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


@REWARDS.register("parent")
class Parent(OfMetric[NoArgs]):
    """PARENT's F score of ToTTo's evaluation, from 0 to 1."""

    metric_class = ParentTotto
    key = "table_to_text/parent_overall_f_score"
