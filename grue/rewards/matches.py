"""How often a pattern occurs in each output."""

from __future__ import annotations

from grue.metrics import matches
from grue.rewards.of_metric import OfMetric
from grue.rewards.reward import REWARDS


@REWARDS.register("matches")
class Matches(OfMetric[matches.MatchesArgs]):
    """Number of matches of a regular expression."""

    metric_class = matches.Matches
    key = "lexical/matches"
