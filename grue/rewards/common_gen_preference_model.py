"""CommonGen's learned reward: a sentence's rating by a model of human preferences."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from common.config.base import INPUT_FILE_OR_ID, NO_EFFECT, Published
from common.config.fit import NonNegativeFloat, PositiveInt
from common.config.hub_revision import FromHub
from common.errors import Problem, UserError
from grue.metrics.meteor import missing_wordnet
from grue.rewards.reward import REWARDS, Reward, Rewards
from grue.scorers.options import ScorerArgs
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.scorers.preference import Preference

_SHOWN = 60


class PreferenceArgs(FromHub, ScorerArgs):
    """Keys of the preference model."""

    model_name: Annotated[str | None, Published(""), INPUT_FILE_OR_ID] = None
    """Encoder-decoder model that answers a sentence with "good" or "bad": a folder in Hugging Face
    layout, or a hub id. None for the published model of the size ``model_type``."""
    model_type: Literal["11b"] = "11b"
    """Size of the published model, a T5 of 11 billion parameters (44 GB in float32) that is
    downloaded. Ignored if ``model_name`` is given."""
    batch_size: Annotated[PositiveInt, NO_EFFECT] = 1
    """Number of outputs per batch."""
    concept_penalty_coeff: NonNegativeFloat = 0.0
    """Reduction of the reward per missing concept; 0 needs no concepts."""
    meteor_coeff: NonNegativeFloat = 0.0
    """Weight of METEOR in the sum; 0 needs no references."""

    def missing(self) -> Iterator[Problem]:
        """Yield WordNet, if METEOR is added."""
        yield from super().missing()
        if self.meteor_coeff > 0:
            yield from missing_wordnet()


@REWARDS.register("common_gen_preference_model")
class CommonGenPreferenceModel(Reward[PreferenceArgs]):
    """``meteor_coeff`` METEOR + P(good) / (1 + ``concept_penalty_coeff`` missing concepts).

    P(good) is the softmax over the logits of "good" and "bad" at the first token of the answer. The
    model reads the output alone. A concept is missing if the lower-cased output does not contain
    it.
    """

    Args = PreferenceArgs

    def __init__(self, args: PreferenceArgs) -> None:
        super().__init__(args)
        self.meteor: Reward[Any] | None = None
        if args.meteor_coeff > 0:
            meteor = REWARDS.get("meteor")
            self.meteor = meteor(meteor.Args())
            self.needs_references = True

    def prepare(self) -> None:
        """Check a local model's files, and METEOR's data."""
        from grue.scorers.loading import check_folder

        if self.args.model_name is not None:
            check_folder(self.args.model_name, "model_name")
        if self.meteor is not None:
            self.meteor.prepare()

    def __call__(self, texts: Texts) -> Rewards:
        """Return [N] rewards, from 0 to 1 + ``meteor_coeff``."""
        rewards = self._model.probabilities(texts.outputs)
        weight = self.args.concept_penalty_coeff
        if weight > 0:
            rewards /= 1 + weight * np.fromiter(_missing(texts), np.float64, len(texts))
        if self.meteor is not None:
            rewards += self.args.meteor_coeff * self.meteor(texts)
        return rewards

    @functools.cached_property
    def _model(self) -> Preference:
        from grue.scorers import preference

        args, answers = self.args, ("good", "bad")
        if args.model_name is None:
            load = preference.load_published_preference
            return load(args.model_type, "model_type", args, answers=answers)
        return preference.load_preference(
            args.model_name, "model_name", args, answers=answers, revision=args.revision
        )


def _missing(texts: Texts) -> Iterator[int]:
    """Yield the number of missing concepts of each output."""
    for prompt, output, metadata in zip(texts.prompts, texts.outputs, texts.metadata, strict=True):
        if "concepts" not in metadata:
            raise UserError(
                "'common_gen_preference_model' counts missing concepts (metadata 'concepts'), and "
                f"the input {prompt[:_SHOWN]!r} has none; set 'concept_penalty_coeff' = 0 or "
                "choose the task 'commongen'"
            )
        text = output.lower()
        yield sum(concept.lower() not in text for concept in metadata["concepts"])
