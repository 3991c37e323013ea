"""How long each output is."""

from __future__ import annotations

from grue.metrics import length
from grue.metrics.metric import NoArgs
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


@REWARDS.register("length")
class Length(OfMetric[NoArgs]):
    """Number of words between blanks."""

    metric_class = length.Length
    key = "lexical/length"
