"""BERTScore as reward."""

from __future__ import annotations

from grue.metrics.by_models import bert_score as metric
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


@REWARDS.register("bert_score")
class BertScore(OfMetric[metric.BertScoreArgs]):
    """F1 of BERTScore, best over the references."""

    metric_class = metric.BertScore
    key = "semantic/bert_score"
