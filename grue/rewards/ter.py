"""How far each output is from needing edits."""

from __future__ import annotations

from collections.abc import Mapping

from grue.metrics import ter
from grue.metrics.metric import Scores
from grue.metrics.reference_metric import PairwiseArgs
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS, Rewards


@REWARDS.register("ter")
class Ter(OfMetric[PairwiseArgs]):
    """1 - TER: 1 for a copy, below 0 where there are more edits than words."""

    metric_class = ter.Ter
    key = "lexical/ter"

    def value(self, scores: Mapping[str, Scores]) -> Rewards:
        """[N] 1 less the edits per word."""
        return 1 - super().value(scores)
