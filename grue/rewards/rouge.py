"""ROUGE rewards: one kind of ROUGE, or the mean of three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from grue.metrics import rouge
from grue.metrics.metric import Scores
from grue.metrics.rouge import RougeType
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS, Rewards
from grue.rewards.shaping import Shaped, ShapedArgs


class RougeArgs(rouge.RougeArgs, ShapedArgs):
    """Keys of ROUGE, the kind to reward, and ``shaping_fn``."""

    rouge_type: RougeType
    """Kind of ROUGE: overlap in words, pairs of words, or the longest common subsequence ("rougeL"
    of the whole text, "rougeLsum" line by line)."""

    @property
    def types(self) -> Sequence[RougeType]:
        """Kind to reward."""
        return (self.rouge_type,)


@REWARDS.register("rouge")
class Rouge(Shaped[RougeArgs], OfMetric[RougeArgs]):
    """F1 of one kind of ROUGE, from 0 to 1, plus the reward of ``shaping_fn``."""

    Args = RougeArgs
    metric_class = rouge.Rouge

    def __init__(self, args: RougeArgs) -> None:
        super().__init__(args)
        self.key = rouge.rouge_key(args.rouge_type)


class CombinedArgs(rouge.RougeArgs, ShapedArgs):
    """Keys of ROUGE, and ``shaping_fn``."""

    @property
    def types(self) -> Sequence[RougeType]:
        """Kinds to average."""
        return "rouge1", "rouge2", "rougeL"


@REWARDS.register("rouge_combined")
class RougeCombined(Shaped[CombinedArgs], OfMetric[CombinedArgs]):
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L, from 0 to 1, plus the reward of ``shaping_fn``."""

    Args = CombinedArgs
    metric_class = rouge.Rouge

    def value(self, scores: Mapping[str, Scores]) -> Rewards:
        """Return [N] means over the kinds."""
        means: Rewards = np.mean(list(scores.values()), axis=0)
        return means
