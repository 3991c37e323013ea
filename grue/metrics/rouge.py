"""ROUGE: overlap with the references in words, pairs of words and subsequences (Lin, 2004)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal

from grue.metrics.metric import METRICS
from grue.metrics.pairwise import PairwiseArgs, PairwiseMetric, Row, Scorer
from grue.metrics.references import as_one_text

RougeType = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]

_WORDS_KEPT = 100_000
_TEXTS_KEPT = 256  # the samples of an input stand together


class RougeArgs(PairwiseArgs):
    """The keys of ROUGE."""

    use_single_ref: bool = True
    """Whether the first reference alone counts; otherwise the best one, for each kind of ROUGE."""
    stringify_references: bool = False
    """Whether, with ``use_single_ref`` off, the list of references is written as one text, as in
    published results."""

    @property
    def types(self) -> Sequence[RougeType]:
        """The kinds of ROUGE that are computed."""
        return "rouge1", "rouge2", "rougeL", "rougeLsum"

    def chosen(self, references: Sequence[str]) -> Sequence[str]:
        """The references to compare with."""
        if self.use_single_ref:
            return references[:1]
        return as_one_text(references) if self.stringify_references else references


class _Tokenizer:
    """rouge-score's words with Porter's stems, remembering words and texts that come again."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer
        from rouge_score.tokenize import tokenize

        self.stem = lru_cache(_WORDS_KEPT)(PorterStemmer().stem)
        self.tokenize = lru_cache(_TEXTS_KEPT)(lambda text: tokenize(text, self))


def rouge_key(rouge_type: RougeType) -> str:
    """The metric key of a kind of ROUGE."""
    return f"lexical/rouge_{rouge_type}"


@METRICS.register("rouge")
class Rouge(PairwiseMetric[RougeArgs]):
    """F1 of each kind of ROUGE, from 0 to 1; of all outputs together, the mean."""

    Args = RougeArgs
    id: ClassVar[str] = "rouge"

    def __init__(self, args: RougeArgs) -> None:
        super().__init__(args)
        self.keys = [rouge_key(rouge_type) for rouge_type in args.types]

    def make_scorer(self) -> Scorer:
        """F1 by kind."""
        from rouge_score.rouge_scorer import RougeScorer

        args, types = self.args, self.args.types
        scorer = RougeScorer(list(types), tokenizer=_Tokenizer())

        def score(output: str, references: Sequence[str]) -> Row:
            found = [scorer.score(reference, output) for reference in args.chosen(references)]
            return [max(scores[name].fmeasure for scores in found) for name in types]

        return score
