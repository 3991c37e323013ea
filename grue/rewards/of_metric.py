"""Rewards that are what a metric says of each output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from common.config.base import Config
from grue.metrics.metric import Metric, Scores
from grue.rewards.reward import Reward, Rewards
from grue.texts import Texts

ArgsT = TypeVar("ArgsT", bound=Config)


class OfMetric(Reward[ArgsT]):
    """The score that a metric gives each output as if it were the only one.

    A subclass names the metric and its key. Its args are the metric's, or a subclass of them with
    keys of its own; `value` is the place for a reward that is not the score itself.
    """

    metric_class: ClassVar[type[Metric[Any]]]
    """The metric; it is built from the reward's args."""
    key: str
    """Which of the metric's keys."""

    def __init_subclass__(cls) -> None:
        """Takes the metric's args where the reward has none of its own."""
        if hasattr(cls, "metric_class") and "Args" not in vars(cls):
            cls.Args = cls.metric_class.Args

    def __init__(self, args: ArgsT) -> None:
        super().__init__(args)
        self.metric = self.metric_class(args)
        self.needs_references = self.metric.needs_references

    def prepare(self) -> None:
        """Looks for what the metric needs."""
        self.metric.prepare()

    def __call__(self, texts: Texts) -> Rewards:
        """[N] rewards, in the units of the metric unless `value` says otherwise."""
        return self.value(self.metric.scores(texts))

    def value(self, scores: Mapping[str, Scores]) -> Rewards:
        """[N] the reward that follows from the metric's scores, by metric key."""
        return scores[self.key]
