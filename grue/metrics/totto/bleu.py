"""ToTTo's BLEU of all outputs and of two subsets: table headers seen in training, and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from grue.metrics.metric import METRICS, Metric, NoArgs, Scores
from grue.metrics.totto import tables as totto
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.policies.policy import Policy


@METRICS.register("bleu_totto")
class BleuTotto(Metric[NoArgs]):
    """BLEU against three references, from 0 to 1; 0 for an empty subset."""

    names = ("table_to_text/bleu_*",)
    has_scores: ClassVar[bool] = False
    needs_references = True

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] the BLEU of each output as a corpus of one; 0 below four words."""
        outputs, references = _prepared(texts)
        found = [_bleu([own], [wanted]) for own, wanted in zip(outputs, references, strict=True)]
        return {_name("overall"): np.array(found, np.float64)}

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> Mapping[str, float]:
        """Return the BLEU of all outputs, and of each subset."""
        outputs, references = _prepared(texts)
        found = {}
        for name, members in totto.subsets(totto.rows(texts, "bleu_totto")).items():
            chosen = np.flatnonzero(members)
            own, wanted = [outputs[row] for row in chosen], [references[row] for row in chosen]
            found[_name(name)] = _bleu(own, wanted) if own else 0.0
        return found


def _name(subset: str) -> str:
    return f"table_to_text/bleu_{subset}"


def _prepared(texts: Texts) -> tuple[list[str], list[list[str]]]:
    """Return [N] prepared outputs, and three references of each."""
    texts.check_references("bleu_totto")
    outputs = [totto.prepared(output) for output in texts.outputs]
    return outputs, [totto.prepared_references(each) for each in texts.references]


def _bleu(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the corpus BLEU by sacreBLEU's default settings, from 0 to 1."""
    from sacrebleu import corpus_bleu

    streams = [list(stream) for stream in zip(*references, strict=True)]
    return float(corpus_bleu(outputs, streams).score / 100)
