"""How often a pattern occurs in outputs: a scoring rule that everybody can look up."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

import numpy as np

from common.config.base import Config
from common.errors import Problem
from grue.metrics.metric import METRICS, Metric, Scores
from grue.texts import Texts


class MatchesArgs(Config):
    """The key of the counted matches."""

    pattern: str
    """Regular expression, such as ``"\\\\b(good|great)\\\\b"``."""

    def problems(self) -> Iterator[Problem]:
        """What is no regular expression."""
        yield from super().problems()
        try:
            re.compile(self.pattern)
        except re.error as error:
            yield Problem(f"is no regular expression ({error})", "pattern", self.pattern)


@METRICS.register("matches")
class Matches(Metric[MatchesArgs]):
    """Number of matches that do not overlap; needs no references."""

    Args = MatchesArgs

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """[N] matches in each output."""
        counts = [len(self._pattern.findall(output)) for output in texts.outputs]
        return {"lexical/matches": np.array(counts, np.float64)}

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.args.pattern)
