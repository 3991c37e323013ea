"""Intent accuracy: the share of answers in a dialogue with the intent of the real answer."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from common.config.hub_revision import FromHub
from common.errors import UserError
from grue.metrics.metric import METRICS, Metric, Scores
from grue.models.config import ModelName
from grue.scorers.options import ScorerArgs
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.scorers.classifier import Classifier

_END = "<EOU>"
"""End-of-utterance mark in the task's prompts."""
_SHOWN = 60


class IntentArgs(FromHub, ScorerArgs):
    """Keys of the intent accuracy."""

    model_name: ModelName = "rajkumarrrk/roberta-daily-dialog-intent-classifier"
    """Classifier of the acts inform, question, directive and commissive: hub id, folder or
    reference."""
    separator: str = _END
    """Separator between the prompt's last utterance and the output in the classifier's input:
    ``<EOU>``, with which it was trained; empty for the published scores."""


@METRICS.register("intent_accuracy")
class IntentAccuracy(Metric[IntentArgs]):
    """1 if the predicted intent is the one in the metadata (``intent``, from 1), otherwise 0."""

    names = ("intent/accuracy",)
    Args = IntentArgs

    def prepare(self) -> None:
        """Check a local classifier's configuration and weights."""
        from grue.scorers.loading import check_folder

        check_folder(self.args.model_name, "model_name")

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] of 0 and 1."""
        targets = np.array([_intent(*pair) for pair in zip(texts.prompts, texts.metadata,
                                                            strict=True)], dtype=int)  # fmt: skip
        read = [
            last_utterance(prompt) + self.args.separator + output
            for prompt, output in zip(texts.prompts, texts.outputs, strict=True)
        ]
        found = self._classifier.logits(read).argmax(-1)
        return {"intent/accuracy": (found == targets - 1).astype(np.float64)}

    @functools.cached_property
    def _classifier(self) -> Classifier:
        from grue.scorers.classifier import load_classifier

        return load_classifier(
            self.args.model_name, "model_name", self.args, revision=self.args.revision
        )


def last_utterance(prompt: str) -> str:
    """Return the last utterance of a prompt that is not empty."""
    pieces = (piece.strip() for piece in reversed(prompt.split(_END)))
    return next((piece for piece in pieces if piece), "")


def _intent(prompt: str, metadata: Mapping[str, Any]) -> int:
    """Return the act in the metadata: a number, or a list of one number.

    Raises:
        UserError: there is no act.
    """
    found = metadata.get("intent")
    if isinstance(found, Sequence) and not isinstance(found, str) and len(found) == 1:
        found = found[0]
    if not isinstance(found, int | np.integer):
        raise UserError(
            f"'intent_accuracy' needs the metadata 'intent', a number from 1; the input "
            f"{prompt[:_SHOWN]!r} has {found!r}; take it out or choose the task 'daily_dialog'"
        )
    return int(found)
