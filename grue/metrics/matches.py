"""Number of matches of a pattern in outputs, a score that is easy to verify by eye."""

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
    """Key of the counted matches."""

    pattern: str
    """Regular expression, such as ``"\\\\b(good|great)\\\\b"``."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a pattern that is no regular expression."""
        yield from super().problems()
        try:
            re.compile(self.pattern)
        except re.error as error:
            yield Problem(f"is no regular expression ({error})", "pattern", self.pattern)


@METRICS.register("matches")
class Matches(Metric[MatchesArgs]):
    """Number of non-overlapping matches; needs no references."""

    names = ("lexical/matches",)
    Args = MatchesArgs

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] the number of matches in each output."""
        counts = [len(self._pattern.findall(output)) for output in texts.outputs]
        return {"lexical/matches": np.array(counts, np.float64)}

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.args.pattern)
