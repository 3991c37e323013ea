"""CIDEr-D: how much the n-grams of an output are those on which its references agree.

Vedantam, Zitnick, Parikh: CIDEr: Consensus-based Image Description Evaluation, CVPR 2015,
equations 2 to 4, and the variant CIDEr-D of its section 7.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from grue.metrics.metric import METRICS, Metric, NoArgs, Scores
from grue.metrics.tokens.scripts import Sight
from grue.metrics.tokens.words import SPLITS_AT_BLANKS, words
from grue.texts import Texts

Ngram = tuple[str, ...]

_ORDERS = range(1, 5)
_SIGMA = 6.0
_SCALE = 10.0


@METRICS.register("cider")
class Cider(Metric[NoArgs]):
    """CIDEr-D, from 0 to 10, of words in their own case with punctuation marks.

    Case and marks count as in the published programs for CommonGen; their words are spaCy's,
    these are NLTK's, so that scores of all outputs differ by some thousandths (by 0.006 on outputs
    for CommonGen). A text of a script without blanks between words is one word. How rare an n-gram
    is, is counted over the references of one call, each input's references being one document:
    scores of different calls are not comparable, and a call with one input gives 0.
    """

    key: ClassVar[str] = "lexical/cider"
    needs_references = True

    def __init__(self, args: NoArgs) -> None:
        super().__init__(args)
        self._sight = Sight("cider", words, SPLITS_AT_BLANKS)

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """[N] scores of outputs among those of this call."""
        texts.check_references("cider")
        self._sight.look(texts)
        counts: dict[str, Counter[Ngram]] = {}
        for text in (*texts.outputs, *(text for each in texts.references for text in each)):
            if text not in counts:
                counts[text] = ngrams(words(text))
        outputs = [counts[text] for text in texts.outputs]
        references = [[counts[text] for text in each] for each in texts.references]
        return {self.key: cider_d(outputs, references)}


def ngrams(tokens: Sequence[str]) -> Counter[Ngram]:
    """How often each n-gram of one to four words occurs."""
    return Counter(
        tuple(tokens[start : start + order])
        for order in _ORDERS
        for start in range(len(tokens) - order + 1)
    )


def cider_d(outputs: Sequence[Counter[Ngram]], references: Sequence[Sequence[Counter[Ngram]]]
            ) -> Scores:  # fmt: skip
    """CIDEr-D of outputs, from 0 to 10.

    Args:
        outputs: [N] n-gram counts.
        references: [N] n-gram counts of each input's references, one at least.

    Returns:
        [N] scores: similarities averaged over references and orders, times 10.
    """
    documents = Counter(ngram for each in references for ngram in set().union(*each))
    weights = {
        ngram: math.log(len(references)) - math.log(count) for ngram, count in documents.items()
    }
    unseen = math.log(len(references)) if references else 0.0
    vectors: dict[int, _Vector] = {}  # equal texts have one counter, and many outputs are equal

    def vector(counts: Counter[Ngram]) -> _Vector:
        if id(counts) not in vectors:
            vectors[id(counts)] = _Vector.of(counts, weights, unseen)
        return vectors[id(counts)]

    return np.array(
        [
            np.mean([_similarity(vector(output), vector(reference)) for reference in each])
            for output, each in zip(outputs, references, strict=True)
        ],
        np.float64,
    )


@dataclass(frozen=True)
class _Vector:
    """A text as a vector for each order: term frequency times inverse document frequency."""

    values: dict[Ngram, float]
    norms: tuple[float, ...]
    """Euclidean length of the vector of each order."""
    length: int
    """Pairs of neighbouring words, as the published program counts a text's length."""

    @classmethod
    def of(cls, counts: Counter[Ngram], weights: Mapping[Ngram, float], unseen: float) -> _Vector:
        """The vector of n-gram counts; ``unseen`` weighs n-grams that no reference has."""
        values = {ngram: count * weights.get(ngram, unseen) for ngram, count in counts.items()}
        squares = dict.fromkeys(_ORDERS, 0.0)
        for ngram, value in values.items():
            squares[len(ngram)] += value**2
        length = sum(count for ngram, count in counts.items() if len(ngram) == 2)
        return cls(values, tuple(map(math.sqrt, squares.values())), length)


def _similarity(output: _Vector, reference: _Vector) -> float:
    """Mean over orders of the clipped cosine, damped by the difference in length, times 10."""
    products = dict.fromkeys(_ORDERS, 0.0)
    for ngram, value in output.values.items():
        wanted = reference.values.get(ngram, 0.0)
        products[len(ngram)] += min(value, wanted) * wanted
    cosines = [
        product / (own * other)
        for product, own, other in zip(
            products.values(), output.norms, reference.norms, strict=True
        )
        if own and other
    ]
    damping = math.exp(-((output.length - reference.length) ** 2) / (2 * _SIGMA**2))
    return _SCALE * damping * sum(cosines) / len(_ORDERS)
