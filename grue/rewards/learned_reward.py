"""The probability of one label as reward."""

from __future__ import annotations

from grue.metrics.by_models import learned_reward as metric
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


@REWARDS.register("learned_reward")
class LearnedReward(OfMetric[metric.LearnedRewardArgs]):
    """Probability of a label by a sequence classifier, from 0 to 1."""

    metric_class = metric.LearnedReward
    key = "semantic/learned_automodel_metric"
