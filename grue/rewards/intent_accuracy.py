"""The intent of an answer as reward, with METEOR against sparseness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from common.config.fit import NonNegativeFloat
from common.errors import Problem
from grue.metrics.by_models import intent_accuracy as metric
from grue.metrics.meteor import missing_wordnet
from grue.metrics.metric import METRICS, Metric
from grue.rewards.reward import REWARDS, Reward, Rewards
from grue.texts import Texts


class IntentRewardArgs(metric.IntentArgs):
    """The keys of the intent reward."""

    shape: bool = True
    """Whether METEOR is added."""
    intent_coeff: NonNegativeFloat = 1.0
    """Reward of the right intent."""
    auto_coeff: NonNegativeFloat = 1.0
    """Weight of METEOR."""
    running_mean_meteor: bool = False
    """Whether METEOR is not the output's own but, as published, the mean over it and all outputs
    before it in the same call."""

    def missing(self) -> Iterator[Problem]:
        """WordNet, if METEOR is added."""
        yield from super().missing()
        if self.shape:
            yield from missing_wordnet()


@REWARDS.register("intent_accuracy")
class IntentAccuracy(Reward[IntentRewardArgs]):
    """``intent_coeff`` [predicted intent = target] + ``auto_coeff`` METEOR."""

    Args = IntentRewardArgs

    def __init__(self, args: IntentRewardArgs) -> None:
        super().__init__(args)
        self._intent = metric.IntentAccuracy(args)
        self._meteor = _meteor() if args.shape else None
        self.needs_references = args.shape

    def prepare(self) -> None:
        """Looks for what the classifier and METEOR need."""
        self._intent.prepare()
        if self._meteor is not None:
            self._meteor.prepare()

    def __call__(self, texts: Texts) -> Rewards:
        """[N] rewards, at most the sum of both coefficients."""
        rewards = self.args.intent_coeff * self._intent.scores(texts)["intent/accuracy"]
        if self._meteor is None:
            return rewards
        found = self._meteor.scores(texts)["lexical/meteor"]
        if self.args.running_mean_meteor:
            found = np.cumsum(found) / np.arange(1, len(found) + 1)
        return rewards + self.args.auto_coeff * found


def _meteor() -> Metric[Any]:
    meteor = METRICS.get("meteor")
    return meteor(meteor.Args())
