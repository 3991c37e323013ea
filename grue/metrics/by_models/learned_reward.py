"""Probability of one label by a sequence classifier of the output, or of prompt and output."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from common.config.hub_revision import FromHub
from common.errors import UserError
from grue.metrics.metric import METRICS, Metric, Scores
from grue.models.config import ModelName
from grue.scorers.options import ScorerArgs
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.scorers.classifier import Classifier


class LearnedRewardArgs(FromHub, ScorerArgs):
    """Keys of a learned reward."""

    model_name: ModelName
    """Sequence classifier: hub id, folder, or a reference such as ``"@classifier.model"``."""
    label_ix: Annotated[int, Field(ge=0)]
    """Label whose softmax probability is the score. A model with one logit has label 0 alone, whose
    probability is the logit's sigmoid."""
    include_prompt_for_eval: bool = True
    """If true, the classifier reads prompt and output as one text; otherwise the output alone."""


@METRICS.register("learned_reward")
class LearnedReward(Metric[LearnedRewardArgs]):
    """Probability of a label, from 0 to 1.

    The classifier's own tokenizer reads the text. The prompt is not truncated as it may be for the
    policy. A text that is too long for the classifier is truncated at its beginning.
    """

    names = ("semantic/learned_automodel_metric",)
    Args = LearnedRewardArgs

    def prepare(self) -> None:
        """Check a local classifier's configuration and weights."""
        from grue.scorers.loading import check_folder, num_labels

        config = check_folder(self.args.model_name, "model_name")
        if config:
            self._check_label(num_labels(config))

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] probabilities."""
        read = list(texts.outputs)
        if self.args.include_prompt_for_eval:
            read = [prompt + output for prompt, output in zip(texts.prompts, read, strict=True)]
        found = self._classifier.probabilities(read)[:, self.args.label_ix]
        return {"semantic/learned_automodel_metric": np.ascontiguousarray(found)}

    @functools.cached_property
    def _classifier(self) -> Classifier:
        from grue.scorers.classifier import load_classifier

        found = load_classifier(
            self.args.model_name, "model_name", self.args, revision=self.args.revision
        )
        self._check_label(found.num_labels)
        return found

    def _check_label(self, num_labels: int) -> None:
        if self.args.label_ix >= num_labels:
            raise UserError(
                f"'label_ix' = {self.args.label_ix}: '{self.args.model_name}' has the labels 0 to "
                f"{num_labels - 1}"
            )
