"""Base class of metrics that depend on an output and its references alone."""

from __future__ import annotations

import functools
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from common.config.base import NO_EFFECT, Config
from grue.metrics.metric import Metric, Scores
from grue.metrics.tokens.scripts import Sight
from grue.metrics.workers import pool
from grue.metrics.workers.pair import Pair, Row, Scorer
from grue.texts import Texts

_PATIENCE = 2.0
"""Seconds that a metric scores in this process before it starts worker processes, whose start takes
as long."""
_SLICE = 64
"""Number of pairs between checks of the clock, and smallest number worth sending to workers."""


class PairwiseArgs(Config):
    """Key of metrics that can be computed in several processes."""

    num_workers: Annotated[Annotated[int, Field(ge=0)] | None, NO_EFFECT] = None
    """Largest number of processes that score large batches; 0 or 1 for the run's own process only;
    None for as many as the run has threads, up to eight."""


ArgsT = TypeVar("ArgsT", bound=PairwiseArgs)


class PairwiseMetric(Metric[ArgsT]):
    """Metric that scores each distinct pair of an output and its references once.

    After some seconds of scoring in this process, worker processes score the rest, with the same
    result.
    """

    Args: ClassVar[type[Config]] = PairwiseArgs
    needs_references = True
    id: ClassVar[str]
    """Name under which the metric is registered."""
    keys: Sequence[str]
    """Keys of the metric, in the order of the scorer's numbers."""

    def __init__(self, args: ArgsT) -> None:
        super().__init__(args)
        self.keys = self.names
        self._scorer: Scorer | None = None
        self._seconds = 0.0
        self._last: tuple[Texts, NDArray[np.float64]] | None = None

    @abstractmethod
    def make_scorer(self) -> Scorer:
        """Return the scorer of pairs, made once per process; libraries are loaded here."""

    def make_sight(self) -> Sight | None:
        """Return the warning of references without tokens; None if the metric reads all texts."""
        return None

    @functools.cached_property
    def _sight(self) -> Sight | None:
        return self.make_sight()

    def scores(self, texts: Texts) -> dict[str, Scores]:
        """Return [N] by metric key.

        Raises:
            UserError: an input has no reference.
        """
        return dict(zip(self.keys, self.rows(texts).T, strict=True))

    def rows(self, texts: Texts) -> NDArray[np.float64]:
        """Return [N, F] the numbers of each pair; those of the last texts are cached.

        Raises:
            UserError: an input has no reference.
        """
        if self._last is None or self._last[0] is not texts:
            texts.check_references(self.id)
            if self._sight is not None:
                self._sight.look(texts)
            pairs = list(zip(texts.outputs, map(tuple, texts.references), strict=True))
            place = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
            rows = np.asarray(self._score(list(place)), np.float64)
            self._last = texts, rows[[place[pair] for pair in pairs]]
        return self._last[1]

    def _score(self, pairs: Sequence[Pair]) -> list[Row]:
        """Return one row per pair, by this process at first and by workers after some seconds."""
        rows: list[Row] = []
        while len(rows) < len(pairs):
            rest = pairs[len(rows) :]
            if self._seconds >= _PATIENCE and len(rest) > _SLICE:
                found = pool.score(type(self), self.args, rest, self.args.num_workers)
                if found is not None:
                    return rows + found
            rows += self._score_here(rest[:_SLICE])
        return rows

    def _score_here(self, pairs: Sequence[Pair]) -> list[Row]:
        if self._scorer is None:
            self._scorer = self.make_scorer()
        started = time.monotonic()
        rows = [self._scorer(output, references) for output, references in pairs]
        self._seconds += time.monotonic() - started
        return rows
