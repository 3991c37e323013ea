"""chrF: character n-gram F score of outputs against references (Popović, 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, ClassVar

from grue.metrics.metric import METRICS
from grue.metrics.reference_metric import PairwiseArgs, PairwiseMetric
from grue.metrics.workers.pair import Row, Scorer
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.policies.policy import Policy


@METRICS.register("chrf")
class Chrf(PairwiseMetric[PairwiseArgs]):
    """sacreBLEU's chrF2 with up to six characters, from 0 to 1, against the best reference."""

    names = ("lexical/chrf",)
    id: ClassVar[str] = "chrf"

    def make_scorer(self) -> Scorer:
        """Return the chrF of a pair."""
        from sacrebleu.metrics.chrf import CHRF

        library = CHRF()

        def score(output: str, references: Sequence[str]) -> Row:
            return [library.sentence_score(output, references).score / 100]

        return score

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> dict[str, float]:
        """Return the corpus chrF: that of the n-grams of all outputs together."""
        from sacrebleu.metrics.chrf import CHRF

        texts.check_references(self.id)
        columns = [list(column) for column in zip_longest(*texts.references)]
        return {self.keys[0]: CHRF().corpus_score(list(texts.outputs), columns).score / 100}
