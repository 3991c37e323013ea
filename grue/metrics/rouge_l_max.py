"""ROUGE-L against the best reference, by py-rouge 1.1; `rouge` follows rouge-score."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from common.config.base import COUNTS_AS_DEFAULT, IGNORED
from common.config.fit import PositiveFloat, PositiveInt
from grue.metrics.metric import METRICS
from grue.metrics.reference_metric import PairwiseMetric
from grue.metrics.rouge import OF_ANY_SCRIPT, TokenizerArgs
from grue.metrics.tokens.scripts import Sight
from grue.metrics.workers.pair import Row, Scorer

Sentences = list[list[str]]
"""Tokens of each sentence."""

_WORDS_KEPT = 100_000
_TEXTS_KEPT = 256  # the samples of an input stand together
_NO_WORD = re.compile(r"[^A-Za-z0-9]")
_LONGEST_UNSTEMMED = 3


class RougeLMaxArgs(TokenizerArgs):
    """Keys of py-rouge, with its defaults."""

    max_n: Annotated[PositiveInt | None, IGNORED, COUNTS_AS_DEFAULT] = None
    """Accepted and ignored: it belongs to ROUGE-N, which is not computed."""
    limit_length: bool = True
    """If true, long texts are truncated."""
    length_limit: PositiveInt = 665
    """Largest length of a text, in the unit ``length_limit_type``."""
    length_limit_type: Literal["words", "bytes"] = "bytes"
    """Unit of ``length_limit``; "bytes" are characters."""
    apply_avg: Annotated[bool, IGNORED, COUNTS_AS_DEFAULT] = True
    """Accepted and ignored: it would join several references of one call."""
    apply_best: Annotated[bool, IGNORED, COUNTS_AS_DEFAULT] = False
    """Accepted and ignored, as ``apply_avg`` is."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of precision against recall in F: 1 is precision alone."""
    weight_factor: PositiveFloat = 1.0
    """Root that is taken of precision and recall: both get the exponent 1 / ``weight_factor``."""
    stemming: bool = True
    """If true, words of more than three letters are reduced to their stems, by Porter's algorithm
    of 1980. py-rouge first looks up irregular forms (went: go), which is not done here. Only
    ``english`` tokens have stems.
    1980. py-rouge first looks irregular forms up (went: go), which is left out here. Only
    ``english`` tokens have stems."""


class _Sentences:
    """Splitter of texts into sentences of tokens."""

    def __init__(self, args: RougeLMaxArgs) -> None:
        from nltk.stem.porter import PorterStemmer
        from nltk.tokenize.destructive import NLTKWordTokenizer

        self._args = args
        self._words: Callable[[str], list[str]] = NLTKWordTokenizer().tokenize
        self._stem = lru_cache(_WORDS_KEPT)(PorterStemmer(PorterStemmer.ORIGINAL_ALGORITHM).stem)

    def __call__(self, text: str) -> Sentences:
        """Return the tokens of each line of ``text``; a long text is truncated."""
        args = self._args
        lines = text.split("\n")
        if args.limit_length:
            cut = cut_words if args.length_limit_type == "words" else cut_characters
            lines = cut(lines, args.length_limit)
        tokens = OF_ANY_SCRIPT.get(args.tokenizer, self._english)
        return [tokens(line) for line in lines]

    def _english(self, line: str) -> list[str]:
        plain = _NO_WORD.sub(" ", line.lower()).strip()
        # "cannot" alone among the contractions stays whole
        tokens = self._words(re.sub(r"\bcannot\b", "_cannot_", plain))
        tokens = [token.strip("_") for token in tokens]
        if not self._args.stemming:
            return tokens
        return [self._stem(t) if len(t) > _LONGEST_UNSTEMMED else t for t in tokens]


def cut_words(lines: Sequence[str], limit: int) -> list[str]:
    """Return the first ``limit`` words, counted over all lines."""
    kept, left = [], limit
    for line in lines:
        words = line.split()[:left]
        kept.append(" ".join(words))
        left -= len(words)
        if left == 0:
            break
    return kept


def cut_characters(lines: Sequence[str], limit: int) -> list[str]:
    """Return the first ``limit`` characters, counted over all stripped lines."""
    kept, left = [], limit
    for line in lines:
        kept.append(line.strip()[:left])
        left -= len(kept[-1])
        if left == 0:
            break
    return kept


def common_positions(reference: Sequence[str], output: Sequence[str]) -> list[int]:
    """Return the positions in ``reference`` of one longest common subsequence with ``output``."""
    width = len(output) + 1
    table = [[0] * width]  # of the lengths for the first i and j tokens
    for token in reference:
        above, row = table[-1], [0] * width
        for j, other in enumerate(output, 1):
            row[j] = above[j - 1] + 1 if token == other else max(above[j], row[j - 1])
        table.append(row)
    positions = []
    i, j = len(reference), len(output)
    while i and j:
        if reference[i - 1] == output[j - 1]:
            i, j = i - 1, j - 1
            positions.append(i)
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return positions


def overlap(reference: Sentences, output: Sentences) -> int:
    """Return the number of hits: tokens in the union of the sentences' common subsequences.

    A token of the reference counts at most as often as it occurs in the output (Lin, 2004, section
    3.2).
    """
    left = Counter(token for sentence in output for token in sentence)
    hits = 0
    for sentence in reference:
        found = {at for other in output for at in common_positions(sentence, other)}
        for at in sorted(found):
            if left[sentence[at]]:
                left[sentence[at]] -= 1
                hits += 1
    return hits


def f_score(hits: int, num_output: int, num_reference: int, args: RougeLMaxArgs) -> float:
    """Return F of precision and recall, each to the power 1 / ``weight_factor``; 0 without hits."""
    if not hits:
        return 0.0
    power = 1 / args.weight_factor
    precision: float = (hits / num_output) ** power
    recall: float = (hits / num_reference) ** power
    return precision * recall / ((1 - args.alpha) * precision + args.alpha * recall)


@METRICS.register("rouge_l_max")
class RougeLMax(PairwiseMetric[RougeLMaxArgs]):
    """ROUGE-L F score against the best reference, from 0 to 1; its mean over all outputs."""

    names = ("lexical/rouge_l_max",)
    Args = RougeLMaxArgs
    id: ClassVar[str] = "rouge_l_max"

    def make_sight(self) -> Sight:
        """Return the warning of references without tokens."""
        return self.args.sight(self.id)

    def make_scorer(self) -> Scorer:
        """Return the F score against the best reference."""
        args = self.args
        sentences = lru_cache(_TEXTS_KEPT)(_Sentences(args))

        def score(output: str, references: Sequence[str]) -> Row:
            own = sentences(output)
            return [max(_f(sentences(reference), own, args) for reference in references)]

        return score


def _f(reference: Sentences, output: Sentences, args: RougeLMaxArgs) -> float:
    hits = overlap(reference, output)
    return f_score(hits, sum(map(len, output)), sum(map(len, reference)), args)
