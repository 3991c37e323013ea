"""Intent reward: 1 for the right intent of an answer, plus METEOR to make it less sparse."""

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
    """Keys of the intent reward."""

    shape: bool = True
    """If true, METEOR is added."""
    intent_coeff: NonNegativeFloat = 1.0
    """Reward of the right intent."""
    auto_coeff: NonNegativeFloat = 1.0
    """Weight of METEOR."""
    running_mean_meteor: bool = False
    """If true, an output's METEOR is the running mean over it and all earlier outputs of the same
    call, as published; otherwise it is the output's own."""

    def missing(self) -> Iterator[Problem]:
        """Yield WordNet, if METEOR is added."""
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
        """Check the classifier and METEOR's data."""
        self._intent.prepare()
        if self._meteor is not None:
            self._meteor.prepare()

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] rewards, at most the sum of both coefficients."""
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
