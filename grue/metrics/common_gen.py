"""METEOR for outputs that should say something new of their prompt's concepts, not repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from grue.metrics.meteor import Meteor
from grue.metrics.metric import METRICS, Scores
from grue.texts import Texts

PREFIX = "generate a sentence with: "
"""What the prompts of the published CommonGen runs begin with."""
_WORDS_OF_PROMPT = ("generate", "sentence")


def repeats_prompt(prompt: str, output: str) -> bool:
    """Whether ``output`` holds the prompt's list of concepts, or a word of its instruction.

    The concepts are what follows `PREFIX`, or the whole prompt where it does not begin so, without
    the character that ends it. Capital letters count as small ones.
    """
    concepts = prompt.removeprefix(PREFIX)[:-1].lower()
    found = output.lower()
    return any(text in found for text in _WORDS_OF_PROMPT) or (concepts != "" and concepts in found)


def repeats(texts: Texts) -> Scores:
    """[N] 1 for each output that repeats its prompt, otherwise 0."""
    pairs = zip(texts.prompts, texts.outputs, strict=True)
    return np.array([repeats_prompt(*pair) for pair in pairs], float)


@METRICS.register("meteor_common_gen_repeat_penalty")
class MeteorWithRepeatPenalty(Meteor):
    """METEOR less 1 for each output that repeats its prompt; of all outputs, the mean."""

    id: ClassVar[str] = "meteor_common_gen_repeat_penalty"
    keys: Sequence[str] = ("lexical/meteor_common_gen_repeat_penalty",)

    def scores(self, texts: Texts) -> dict[str, Scores]:
        """[N] METEOR, less 1 where the prompt is repeated."""
        return {key: values - repeats(texts) for key, values in super().scores(texts).items()}
