"""TER: translation edit rate of an output against a reference (Snover et al., 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from grue.metrics.metric import METRICS, Scores
from grue.metrics.reference_metric import PairwiseArgs, PairwiseMetric
from grue.metrics.tokens.scripts import Sight
from grue.metrics.tokens.words import SPLITS_AT_BLANKS
from grue.metrics.workers.pair import Row, Scorer
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.policies.policy import Policy


@METRICS.register("ter")
class Ter(PairwiseMetric[PairwiseArgs]):
    """Edits per word of the references, by sacreBLEU; 0 for a copy. Case is ignored.

    Words are separated by blanks: a text of a script without them is one word.
    """

    names = ("lexical/ter",)
    id: ClassVar[str] = "ter"

    def make_sight(self) -> Sight:
        """Return the warning of references that are one word."""
        return Sight(self.id, str.split, SPLITS_AT_BLANKS)

    def make_scorer(self) -> Scorer:
        """Return the smallest number of edits, and the mean length of the references in words."""
        from sacrebleu.metrics.ter import TER

        library = TER()

        def score(output: str, references: Sequence[str]) -> Row:
            found = library.sentence_score(output, references)
            return [found.num_edits, found.ref_length]

        return score

    def scores(self, texts: Texts) -> dict[str, Scores]:
        """Return [N] edits per word of each output alone."""
        return {self.keys[0]: np.array([edit_rate(*row) for row in self.rows(texts)])}

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> dict[str, float]:
        """Return the edits of all outputs per word of all references."""
        return {self.keys[0]: edit_rate(*self.rows(texts).sum(0))}


def edit_rate(num_edits: float, length: float) -> float:
    """Return edits per word; for references without words 1, or 0 without edits."""
    if length == 0:
        return float(num_edits > 0)
    return float(num_edits / length)
