"""METEOR with a penalty for outputs that repeat their prompt (CommonGen)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from grue.metrics.meteor import Meteor
from grue.metrics.metric import METRICS, Scores
from grue.texts import Texts

PREFIX = "generate a sentence with: "
"""Beginning of the prompts of the published CommonGen runs."""
_WORDS_OF_PROMPT = ("generate", "sentence")


def repeats_prompt(prompt: str, output: str) -> bool:
    """Return whether ``output`` has the prompt's concepts, or a word of its instruction.

    The concepts are the text after `PREFIX`, or the whole prompt if it does not start with it,
    without the last character. Case is ignored.
    """
    concepts = prompt.removeprefix(PREFIX)[:-1].lower()
    found = output.lower()
    return any(text in found for text in _WORDS_OF_PROMPT) or (concepts != "" and concepts in found)


def repeats(texts: Texts) -> Scores:
    """Return [N] 1 for each output that repeats its prompt, otherwise 0."""
    pairs = zip(texts.prompts, texts.outputs, strict=True)
    return np.array([repeats_prompt(*pair) for pair in pairs], float)


@METRICS.register("meteor_common_gen_repeat_penalty")
class MeteorWithRepeatPenalty(Meteor):
    """METEOR, minus 1 for each output that repeats its prompt; their mean over all outputs."""

    names = ("lexical/meteor_common_gen_repeat_penalty",)
    id: ClassVar[str] = "meteor_common_gen_repeat_penalty"

    def scores(self, texts: Texts) -> dict[str, Scores]:
        """Return [N] METEOR, minus 1 for outputs that repeat their prompt."""
        return {key: values - repeats(texts) for key, values in super().scores(texts).items()}
