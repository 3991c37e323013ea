"""Scores of answers by the generators of Reasoning Gym."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from common.errors import UserError
from grue.metrics.answers.extraction import find_match
from grue.metrics.answers.pattern import PatternArgs
from grue.metrics.metric import METRICS, Metric, Scores
from grue.tasks.synthetic.reasoning_gym import ENTRY
from grue.texts import Texts

log = logging.getLogger(__name__)

_SHOWN = 60


@METRICS.register("reasoning_gym")
class ReasoningGym(Metric[PatternArgs]):
    """Score that the problem's own generator gives to the answer.

    Without a ``pattern`` the answer is the whole output, but for white space around it.
    """

    names = ("answer/score",)
    Args = PatternArgs
    needed_metadata = (ENTRY,)

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] scores, usually from 0 to 1; an output without an answer gets that of none.

        Raises:
            UserError: an input is no problem of Reasoning Gym.
        """
        found = [self._score(texts, row) for row in range(len(texts))]
        return {"answer/score": np.array(found, np.float64)}

    def _score(self, texts: Texts, row: int) -> float:
        metadata, output = texts.metadata[row], texts.outputs[row]
        if ENTRY not in metadata:
            raise UserError(
                f"'reasoning_gym' scores problems of the task of that name, and the input "
                f"{texts.prompts[row][:_SHOWN]!r} is none; choose this task, or another metric"
            )
        pattern = self.args.compiled()
        answer = output.strip() if pattern is None else find_match(output, pattern)
        return _scored(answer, metadata[ENTRY])


def _scored(answer: str | None, entry: Mapping[str, Any]) -> float:
    """Return the score of an answer; 0 where the scorer fails, which it may for a wrong form."""
    generator = entry["metadata"]["source_dataset"]
    scorer = _scorer(generator)
    try:
        return float(scorer(answer, entry))
    except Exception as error:  # of any of a hundred scorers, for a text that it did not expect
        _tell_of_failure(generator, type(error).__name__)
        return 0.0


@functools.cache
def _tell_of_failure(generator: str, kind: str) -> None:
    log.warning("the scorer of '%s' fails with %s for some answers, which get 0", generator, kind)


@functools.cache
def _scorer(generator: str) -> Callable[[str | None, Mapping[str, Any]], float]:
    import reasoning_gym

    scorer: Callable[[str | None, Mapping[str, Any]], float]
    scorer = reasoning_gym.get_score_answer_fn(generator)
    return scorer
