"""Rewards of answers that can be verified: right or wrong, nearly right, or given at all."""

from __future__ import annotations

from collections.abc import Mapping

from grue.metrics.answers import exact_answer as metric
from grue.metrics.answers import math_verify, reasoning_gym
from grue.metrics.answers.pattern import PatternArgs
from grue.metrics.metric import Scores
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS, Rewards


class ExactAnswerArgs(metric.ExactAnswerArgs):
    """Keys of finding an answer, and of rewarding it."""

    graded: bool = False
    """If true, a wrong answer gets the share of its characters that agree with the right one,
    aligned at the last ones: 47 gets 1/2 where 57 is right. Otherwise it gets 0."""


@REWARDS.register("exact_answer")
class ExactAnswer(OfMetric[ExactAnswerArgs]):
    """1 for the right answer; 0 for a wrong one, or its agreement with the right one."""

    Args = ExactAnswerArgs
    metric_class = metric.ExactAnswer
    largest = 1.0

    def value(self, scores: Mapping[str, Scores]) -> Rewards:
        """Return [N] rewards, from 0 to 1."""
        return scores["answer/agreement" if self.args.graded else "answer/accuracy"]


@REWARDS.register("reasoning_gym")
class ReasoningGym(OfMetric[PatternArgs]):
    """Score of the problem's own generator, usually from 0 to 1."""

    metric_class = reasoning_gym.ReasoningGym
    key = "answer/score"


@REWARDS.register("math_verify")
class MathVerify(OfMetric[math_verify.MathVerifyArgs]):
    """1 for an answer that is equal to the right one as an expression, otherwise 0."""

    metric_class = math_verify.MathVerify
    key = "answer/verified"
    largest = 1.0


@REWARDS.register("answer_given")
class AnswerGiven(OfMetric[metric.ExactAnswerArgs]):
    """1 for an output with an answer in the form asked for, right or wrong; otherwise 0."""

    metric_class = metric.ExactAnswer
    key = "answer/given"
    largest = 1.0
