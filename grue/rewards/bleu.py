"""BLEU of each output alone."""

from __future__ import annotations

from grue.metrics import bleu
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


@REWARDS.register("bleu")
class Bleu(OfMetric[bleu.BleuArgs]):
    """BLEU without smoothing, from 0 to 1; 0 for most short outputs."""

    metric_class = bleu.Bleu
    key = "lexical/bleu"


@REWARDS.register("sacre_bleu")
class SacreBleu(OfMetric[bleu.SacreBleuArgs]):
    """sacreBLEU, from 0 to 1; 0 for outputs of fewer than four tokens."""

    metric_class = bleu.SacreBleu
    key = "lexical/sacrebleu"
