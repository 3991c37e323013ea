"""CIDEr-D: similarity of an output to its references by n-grams weighted by rarity (TF-IDF).

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
    """CIDEr-D, from 0 to 10; case and punctuation marks count.

    The published programs for CommonGen also count them. Their words are spaCy's and these are
    NLTK's, so that corpus scores differ by some thousandths (by 0.006 on outputs for CommonGen). A
    text of a script without blanks between words is one word. Document frequencies are those of the
    references of one call, where each input's references are one document. Scores of different
    calls are therefore not comparable, and a call with one input gives 0.
    """

    key: ClassVar[str] = "lexical/cider"
    names = (key,)
    needs_references = True

    def __init__(self, args: NoArgs) -> None:
        super().__init__(args)
        self._sight = Sight("cider", words, SPLITS_AT_BLANKS)

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] scores of outputs, with the document frequencies of this call."""
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
    """Return the number of occurrences of each n-gram of one to four words."""
    return Counter(
        tuple(tokens[start : start + order])
        for order in _ORDERS
        for start in range(len(tokens) - order + 1)
    )


def cider_d(outputs: Sequence[Counter[Ngram]], references: Sequence[Sequence[Counter[Ngram]]]
            ) -> Scores:  # fmt: skip
    """Return the CIDEr-D of outputs, from 0 to 10.

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
    """Vector of a text for each n-gram order: term frequency times inverse document frequency."""

    values: dict[Ngram, float]
    norms: tuple[float, ...]
    """Euclidean norm of the vector of each order."""
    length: int
    """Number of bigrams, the published program's length of a text."""

    @classmethod
    def of(cls, counts: Counter[Ngram], weights: Mapping[Ngram, float], unseen: float) -> _Vector:
        """Return the vector of n-gram counts; ``unseen`` weighs n-grams that no reference has."""
        values = {ngram: count * weights.get(ngram, unseen) for ngram, count in counts.items()}
        squares = dict.fromkeys(_ORDERS, 0.0)
        for ngram, value in values.items():
            squares[len(ngram)] += value**2
        length = sum(count for ngram, count in counts.items() if len(ngram) == 2)
        return cls(values, tuple(map(math.sqrt, squares.values())), length)


def _similarity(output: _Vector, reference: _Vector) -> float:
    """Return the clipped cosine, averaged over orders, damped by length difference, times 10."""
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
