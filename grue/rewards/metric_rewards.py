"""Rewards that are one metric of each output; each class names the metric's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from common.config.base import IGNORED, NO_EFFECT, OptionalText
from grue.metrics import bleu, chrf, increasing_numbers, length, matches, meteor, rouge_l_max, ter
from grue.metrics.by_models import bert_score, bleurt, learned_reward
from grue.metrics.dates import Dates
from grue.metrics.increasing_numbers import IncreasingNumbersArgs
from grue.metrics.metric import NoArgs, Scores
from grue.metrics.reference_metric import PairwiseArgs
from grue.metrics.totto.parent import ParentTotto
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS, Rewards
from grue.rewards.shaping import Shaped, ShapedArgs


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


@REWARDS.register("chrf")
class Chrf(OfMetric[PairwiseArgs]):
    """chrF, from 0 to 1."""

    metric_class = chrf.Chrf
    key = "lexical/chrf"


@REWARDS.register("ter")
class Ter(OfMetric[PairwiseArgs]):
    """1 - TER: 1 for a copy, negative for more edits than words."""

    metric_class = ter.Ter
    key = "lexical/ter"

    def value(self, scores: Mapping[str, Scores]) -> Rewards:
        """Return [N] 1 minus the edits per word."""
        return 1 - super().value(scores)


@REWARDS.register("rouge_l_max")
class RougeLMax(OfMetric[rouge_l_max.RougeLMaxArgs]):
    """ROUGE-L F score, from 0 to 1."""

    metric_class = rouge_l_max.RougeLMax
    key = "lexical/rouge_l_max"


class MeteorArgs(meteor.MeteorArgs, ShapedArgs):
    """Keys of METEOR, and ``shaping_fn``."""


@REWARDS.register("meteor")
class Meteor(Shaped[MeteorArgs], OfMetric[MeteorArgs]):
    """METEOR, from 0 to 1, plus the reward of ``shaping_fn``."""

    Args = MeteorArgs
    metric_class = meteor.Meteor
    key = "lexical/meteor"


@REWARDS.register("parent")
class Parent(OfMetric[NoArgs]):
    """PARENT's F score of ToTTo's evaluation, from 0 to 1."""

    metric_class = ParentTotto
    key = "table_to_text/parent_overall_f_score"


@REWARDS.register("length")
class Length(OfMetric[NoArgs]):
    """Number of words, separated by spaces."""

    metric_class = length.Length
    key = "lexical/length"


@REWARDS.register("matches")
class Matches(OfMetric[matches.MatchesArgs]):
    """Number of matches of a regular expression."""

    metric_class = matches.Matches
    key = "lexical/matches"


@REWARDS.register("increasing_numbers")
class IncreasingNumbers(OfMetric[IncreasingNumbersArgs]):
    """Share of increasing numbers, from 0 to 1."""

    metric_class = increasing_numbers.IncreasingNumbers
    key = "synthetic/increasing_numbers_in_text"
    largest = 1.0


@REWARDS.register("sentences_with_dates")
class SentencesWithDates(OfMetric[NoArgs]):
    """1 for a text with a date such as 2023-10-31; 0 for another."""

    metric_class = Dates
    key = "synthetic/dates_in_text"
    largest = 1.0


@REWARDS.register("bert_score")
class BertScore(OfMetric[bert_score.BertScoreArgs]):
    """F1 of BERTScore, best over the references."""

    metric_class = bert_score.BertScore
    key = "semantic/bert_score"


class BleurtArgs(bleurt.BleurtArgs):
    """Keys of the BLEURT reward."""

    checkpoint: Annotated[OptionalText, IGNORED, NO_EFFECT] = None
    """Accepted from published files and ignored, as it was there: ``config_name`` chooses the
    model."""


@REWARDS.register("bleurt")
class Bleurt(OfMetric[BleurtArgs]):
    """BLEURT rating, best over the references."""

    Args = BleurtArgs
    metric_class = bleurt.Bleurt
    key = "semantic/bleurt"


@REWARDS.register("learned_reward")
class LearnedReward(OfMetric[learned_reward.LearnedRewardArgs]):
    """Probability of a label by a sequence classifier, from 0 to 1."""

    metric_class = learned_reward.LearnedReward
    key = "semantic/learned_automodel_metric"
