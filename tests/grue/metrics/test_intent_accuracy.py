"""Intent accuracy, with a classifier that knows its intents by a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from grue import metrics
from grue.metrics.by_models.intent_accuracy import IntentAccuracy, last_utterance
from tests.grue.judging import save_classifier, texts

KEY = "intent/accuracy"


class Rigged:
    """Predicts the number that the text ends with, and keeps what it read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def logits(self, read: list[str]) -> np.ndarray:
        self.read += read
        return np.eye(4)[[int(text[-1]) for text in read]]


def rigged(**args: str) -> tuple[IntentAccuracy, Rigged]:
    metric, classifier = IntentAccuracy(IntentAccuracy.Args(**args)), Rigged()
    metric.__dict__["_classifier"] = classifier
    return metric, classifier


GIVEN = texts(
    ["answer 0", "answer 1", "answer 3"],
    prompts=["one<EOU> two <EOU>", "", " <EOU>three<EOU><EOU>  <EOU>"],
    metadata=[{"intent": [1]}, {"intent": 1}, {"intent": [4]}],
)


def test_a_right_intent_counts_one_and_labels_begin_at_one() -> None:
    metric, classifier = rigged()
    np.testing.assert_array_equal(metric.scores(GIVEN)[KEY], [1, 0, 1])
    assert classifier.read == ["two<EOU>answer 0", "<EOU>answer 1", "three<EOU>answer 3"]
    assert metric.corpus(GIVEN) == {KEY: pytest.approx(2 / 3)}


def test_the_separator_can_be_left_out_as_published() -> None:
    metric, classifier = rigged(separator="")
    metric.scores(GIVEN)
    assert classifier.read == ["twoanswer 0", "answer 1", "threeanswer 3"]


def test_the_last_utterance_is_the_last_that_is_not_empty() -> None:
    assert last_utterance("a<EOU> b b <EOU>") == "b b"
    assert last_utterance("no mark") == "no mark"
    assert last_utterance("<EOU>") == ""


@pytest.mark.parametrize("metadata", [{}, {"intent": "2"}, {"intent": [1, 2]}])
def test_a_missing_intent_is_named(metadata: dict[str, object]) -> None:
    metric, _ = rigged()
    with pytest.raises(UserError, match=r"needs the metadata 'intent'.* the input 'hello' has"):
        metric.scores(texts(["0"], prompts=["hello"], metadata=[metadata]))


def test_a_real_classifier_is_asked(tmp_path: Path) -> None:
    save_classifier(tmp_path, "roberta", num_labels=4)
    kind = metrics.find("intent_accuracy")
    metric = kind(kind.Args(model_name=str(tmp_path)))
    metric.prepare()
    found = [
        metric.scores(texts(["the cat"], metadata=[{"intent": [act]}]))[KEY][0]
        for act in range(1, 5)
    ]
    assert sorted(found) == [0, 0, 0, 1]
