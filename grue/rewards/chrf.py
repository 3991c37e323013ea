"""chrF of each output."""

from __future__ import annotations

from grue.metrics import chrf
from grue.metrics.reference_metric import PairwiseArgs
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


@REWARDS.register("chrf")
class Chrf(OfMetric[PairwiseArgs]):
    """chrF, from 0 to 1."""

    metric_class = chrf.Chrf
    key = "lexical/chrf"
