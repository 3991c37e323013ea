"""METEOR of each output."""

from __future__ import annotations

from grue.metrics import meteor
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS
from grue.rewards.shaping import Shaped, ShapedArgs


class MeteorArgs(meteor.MeteorArgs, ShapedArgs):
    """The keys of METEOR, and ``shaping_fn``."""


@REWARDS.register("meteor")
class Meteor(Shaped[MeteorArgs], OfMetric[MeteorArgs]):
    """METEOR, from 0 to 1, and the reward of ``shaping_fn``."""

    Args = MeteorArgs
    metric_class = meteor.Meteor
    key = "lexical/meteor"
