"""Base of the rewards that are a metric of each output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from common.config.base import Config
from grue.metrics.metric import Metric, Scores
from grue.rewards.reward import Reward, Rewards
from grue.texts import Texts

ArgsT = TypeVar("ArgsT", bound=Config)


class OfMetric(Reward[ArgsT]):
    """Score that a metric gives to each output alone.

    A subclass names the metric and its key. Its args are those of the metric, or a subclass with
    further keys. A subclass whose reward is not the score itself overrides `value`.
    """

    metric_class: ClassVar[type[Metric[Any]]]
    """Class of the metric, which is built from the reward's args."""
    key: str
    """Key of the metric that is the reward."""

    def __init_subclass__(cls) -> None:
        """Use the metric's args if the reward declares none of its own."""
        if hasattr(cls, "metric_class") and "Args" not in vars(cls):
            cls.Args = cls.metric_class.Args

    def __init__(self, args: ArgsT) -> None:
        super().__init__(args)
        self.metric = self.metric_class(args)
        self.needs_references = self.metric.needs_references
        self.needed_metadata = self.metric.needed_metadata

    def prepare(self) -> None:
        """Check the metric's needs."""
        self.metric.prepare()

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] rewards, in the units of the metric unless `value` changes them."""
        return self.value(self.metric.scores(texts))

    def value(self, scores: Mapping[str, Scores]) -> Rewards:
        """Return [N] the reward computed from the metric's scores, by metric key."""
        return scores[self.key]
