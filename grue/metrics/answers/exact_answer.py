"""Share of outputs whose answer is the right one, which needs no judge but a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field, Strict

from common.config.distinct import Distinct
from grue.metrics.answers.comparison import agreement, are_equal
from grue.metrics.answers.extraction import Form, find_answer, find_match
from grue.metrics.answers.pattern import PatternArgs
from grue.metrics.metric import METRICS, Metric, Scores
from grue.texts import Texts, groups

if TYPE_CHECKING:
    from grue.policies.policy import Policy

_OF_REFERENCES: Sequence[Form] = ("marker", "boxed")

Forms = Annotated[tuple[Form, ...], Strict(False), Field(min_length=1), Distinct()]


class ExactAnswerArgs(PatternArgs):
    """Keys of finding an answer."""

    extract: Forms = ("marker", "boxed", "last_number")
    r"""Forms of an answer, the first that an output has counts: the text after its last ``####``
    (``marker``), in its last ``\boxed{}`` (``boxed``), or its last number. A ``pattern`` is used
    instead."""


@METRICS.register("exact_answer")
class ExactAnswer(Metric[ExactAnswerArgs]):
    r"""1 for an output whose answer is that of a reference, otherwise 0.

    A reference's answer is found in the same form as an output's, otherwise after ``####`` or in
    ``\boxed{}``; without any of these it is the whole reference.
    """

    names = ("answer/accuracy", "answer/agreement", "answer/given")
    Args = ExactAnswerArgs
    largest: ClassVar[Mapping[str, float]] = {"answer/accuracy": 1.0}
    needs_references = True

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] right, [N] agreement of the characters, and [N] whether there is an answer."""
        texts.check_references("exact_answer")
        given = [self.answer(output) for output in texts.outputs]
        wanted = [[self._right(text) for text in references] for references in texts.references]
        pairs = list(zip(given, wanted, strict=True))
        return {
            "answer/accuracy": _each(
                answer is not None and any(are_equal(answer, right) for right in rights)
                for answer, rights in pairs
            ),
            "answer/agreement": _each(
                0.0 if answer is None else max(agreement(answer, right) for right in rights)
                for answer, rights in pairs
            ),
            "answer/given": _each(answer is not None for answer in given),
        }

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> Mapping[str, float]:
        """Return the means over all outputs, and the accuracy at each level of difficulty.

        Levels are the metadata ``difficulty`` of the inputs, where the task gives them.
        """
        scores = self.scores(texts)
        means = {key: float(values.mean()) for key, values in scores.items()}
        for level, rows in groups(texts.metadata, "difficulty").items():
            accuracy = scores["answer/accuracy"][rows].mean()
            means[f"answer/accuracy_at_difficulty_{level}"] = float(accuracy)
        return means

    def answer(self, text: str) -> str | None:
        """Return the answer in a text; None if it has none."""
        pattern = self.args.compiled()
        if pattern is not None:
            return find_match(text, pattern)
        return find_answer(text, self.args.extract)

    def _right(self, reference: str) -> str:
        return self.answer(reference) or find_answer(reference, _OF_REFERENCES) or reference.strip()


def _each(values: Iterator[float]) -> Scores:
    return np.fromiter(values, np.float64)
