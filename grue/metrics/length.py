"""Length of outputs in words."""

from __future__ import annotations

import numpy as np

from grue.metrics.metric import METRICS, Metric, NoArgs, Scores
from grue.texts import Texts


@METRICS.register("length")
class Length(Metric[NoArgs]):
    """Number of words, separated by spaces; needs no references.

    A text of a script without blanks between words counts as one word.
    """

    names = ("lexical/length",)

    def scores(self, texts: Texts) -> dict[str, Scores]:
        """Return [N] the number of words of each output."""
        return {"lexical/length": np.array([len(text.split()) for text in texts.outputs], float)}
