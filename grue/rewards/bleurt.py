"""BLEURT as reward."""

from __future__ import annotations

from typing import Annotated

from common.config.base import IGNORED, NO_EFFECT, OptionalText
from grue.metrics.by_models import bleurt as metric
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


class BleurtArgs(metric.BleurtArgs):
    """The keys of the BLEURT reward."""

    checkpoint: Annotated[OptionalText, IGNORED, NO_EFFECT] = None
    """Accepted for published files, which had no effect either: ``config_name`` chooses."""


@REWARDS.register("bleurt")
class Bleurt(OfMetric[BleurtArgs]):
    """BLEURT's rating, best over the references."""

    Args = BleurtArgs
    metric_class = metric.Bleurt
    key = "semantic/bleurt"
