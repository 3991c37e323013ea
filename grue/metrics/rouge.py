"""ROUGE: overlap with references in words, bigrams and subsequences (Lin, 2004), by rouge-score."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import ClassVar, Literal

from grue.metrics.metric import METRICS
from grue.metrics.reference_metric import PairwiseArgs, PairwiseMetric
from grue.metrics.references import as_one_text
from grue.metrics.tokens.scripts import Sight, characters, unicode_words
from grue.metrics.tokens.words import Stems
from grue.metrics.workers.pair import Row, Scorer

RougeType = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]
Tokenizer = Literal["english", "words", "characters"]

_TEXTS_KEPT = 256  # the samples of an input stand together


OF_ANY_SCRIPT: dict[Tokenizer, Callable[[str], list[str]]] = {
    "words": unicode_words,
    "characters": characters,
}
_ENGLISH_WORD = re.compile("[a-z0-9]+")


class TokenizerArgs(PairwiseArgs):
    """Key of both forms of ROUGE."""

    tokenizer: Tokenizer = "english"
    """Tokenizer: ``english`` keeps only the letters a to z and digits, and nothing of other
    scripts; ``words`` are runs of letters, combining marks and digits of any script, lower-cased
    and without stemming; ``characters`` are for scripts without spaces between words."""

    def sight(self, metric: str) -> Sight:
        """Return the warning of references without tokens; ``metric`` is the id."""
        tokens = OF_ANY_SCRIPT.get(self.tokenizer, _english_words)
        fix = (
            "set 'tokenizer' to 'words', or to 'characters' for scripts without spaces between "
            "words"
        )
        return Sight(metric, tokens, fix)


def _english_words(text: str) -> list[str]:
    return _ENGLISH_WORD.findall(text.lower())


class RougeArgs(TokenizerArgs):
    """Keys of ROUGE."""

    use_single_ref: bool = True
    """If true, only the first reference counts; otherwise the best one, for each kind of ROUGE."""
    stringify_references: bool = False
    """If true, and ``use_single_ref`` is false, the list of references is written as one text, as
    in published results. Their numbers are far lower than those of the best reference (about half,
    with CommonGen's four), and not comparable with them. The run's ``compatibility`` sets it for
    all parts at once."""

    @property
    def types(self) -> Sequence[RougeType]:
        """Kinds of ROUGE that are computed."""
        return "rouge1", "rouge2", "rougeL", "rougeLsum"

    def chosen(self, references: Sequence[str]) -> Sequence[str]:
        """Return the references to compare with."""
        if self.use_single_ref:
            return references[:1]
        return as_one_text(references) if self.stringify_references else references


class _Tokenizer:
    """Tokenizer for rouge-score, with a cache of texts."""

    def __init__(self, name: Tokenizer) -> None:
        self.tokenize = lru_cache(_TEXTS_KEPT)(OF_ANY_SCRIPT.get(name) or _english_stems())


def _english_stems() -> Callable[[str], list[str]]:
    """rouge-score's words with Porter stems."""
    from rouge_score.tokenize import tokenize

    return partial(tokenize, stemmer=Stems())


def rouge_key(rouge_type: RougeType) -> str:
    """Return the metric key of a kind of ROUGE."""
    return f"lexical/rouge_{rouge_type}"


@METRICS.register("rouge")
class Rouge(PairwiseMetric[RougeArgs]):
    """F1 of each kind of ROUGE, from 0 to 1; their mean over all outputs."""

    names = ("lexical/rouge_rouge*",)
    Args = RougeArgs
    id: ClassVar[str] = "rouge"

    def __init__(self, args: RougeArgs) -> None:
        super().__init__(args)
        self.keys = [rouge_key(rouge_type) for rouge_type in args.types]

    def make_sight(self) -> Sight:
        """Return the warning of references without tokens."""
        return self.args.sight(self.id)

    def make_scorer(self) -> Scorer:
        """Return the F1 by kind."""
        from rouge_score.rouge_scorer import RougeScorer

        args, types = self.args, self.args.types
        scorer = RougeScorer(list(types), tokenizer=_Tokenizer(args.tokenizer))

        def score(output: str, references: Sequence[str]) -> Row:
            found = [scorer.score(reference, output) for reference in args.chosen(references)]
            return [max(scores[name].fmeasure for scores in found) for name in types]

        return score
