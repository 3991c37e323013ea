"""Reward of a trained reward model: its score, or its expected rating."""

from __future__ import annotations

from common.errors import UserError
from grue.metrics.by_models import learned_preference as metric
from grue.metrics.metric import Scores
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS
from grue.texts import Texts


@REWARDS.register("learned_preference")
class LearnedPreference(OfMetric[metric.LearnedPreferenceArgs]):
    """Score or expected rating by a model of the experiment ``reward_model``."""

    metric_class = metric.LearnedPreference
    key = metric.REWARD

    def mean_and_std(self, texts: Texts) -> tuple[Scores, Scores]:
        """Return [N] expected rewards and [N] their standard deviations, in the same units.

        Raises:
            UserError: the model gives one score, which has no std.
        """
        found = self.metric.scores(texts)
        if metric.STD not in found:
            raise UserError(
                f"'model_name' = '{self.metric.args.model_name}': gives a score without a std; "
                "train a reward model with the loss 'probabilistic'"
            )
        return found[metric.REWARD], found[metric.STD]
