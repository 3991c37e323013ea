"""PARENT: precision and recall of an output against references and a table.

Dhingra et al.: Handling Divergent Reference Texts when Evaluating Table-to-Text Generation, ACL
2019, as ToTTo's evaluation has it (Parikh et al., EMNLP 2020): word overlap for the probability of
entailment, the whole table for precision, its highlighted part for recall.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

Tokens = Sequence[str]
Counts = Counter[tuple[str, ...]]

_ORDERS = range(1, 5)
_SMOOTHING = 1e-5
_EPSILON = 1e-8


class Parent(NamedTuple):
    """Precision, recall and F score, from 0 to 1."""

    precision: float
    recall: float
    f_score: float


def parent(
    output: Tokens, references: Sequence[Tokens], vocabulary: Collection[str],
    entries: Sequence[Tokens],
) -> Parent:  # fmt: skip
    """Return the PARENT of an output for the reference with the largest F score.

    Args:
        output: words of the output.
        references: words of each reference, at least one.
        vocabulary: words in the table.
        entries: words of each value that the output should mention, without empty ones.
    """
    table_recall = _mentioned(entries, output) or _SMOOTHING
    found = []
    for reference in dict.fromkeys(map(tuple, references)):
        precision, reference_recall = _against(output, reference, vocabulary)
        table_weight = 1 - _mentioned(entries, reference)
        recall = math.exp(
            (1 - table_weight) * math.log(reference_recall) + table_weight * math.log(table_recall)
        )
        f_score = 2 * precision * recall / (precision + recall + _EPSILON)
        found.append(Parent(precision, recall, f_score))
    return max(found, key=lambda parent: parent.f_score)


def _against(output: Tokens, reference: Tokens, vocabulary: Collection[str]
             ) -> tuple[float, float]:  # fmt: skip
    """Return entailed precision, and recall of the reference, over n-grams of up to four words."""
    precisions, recalls = [], []
    for order in _ORDERS:
        own, wanted = _ngrams(output, order), _ngrams(reference, order)
        precisions.append(_precision(own, wanted, vocabulary))
        recalls.append(_recall(own, wanted, vocabulary))
    return _mean(precisions), _mean(recalls) or _SMOOTHING


def _precision(own: Counts, wanted: Counts, vocabulary: Collection[str]) -> float:
    """Return the share of the output's n-grams that the reference or the table supports."""
    if not own:
        return 0.0
    total = 0.0
    for ngram, count in own.items():
        shared = min(1.0, wanted[ngram] / count)
        total += count * (shared + (1 - shared) * _entailed(ngram, vocabulary))
    return total / own.total()


def _recall(own: Counts, wanted: Counts, vocabulary: Collection[str]) -> float:
    """Return the share of the reference's n-grams, weighted by the table, that the output has."""
    total = found = 0.0
    for ngram, count in wanted.items():
        weight = count * _entailed(ngram, vocabulary)
        total += weight
        found += weight * min(1.0, own[ngram] / count)
    return found / total if total else 1.0


def _mean(values: Sequence[float]) -> float:
    """Return the geometric mean over orders; zeros of all but single words count as 1e-5."""
    first, *others = values
    if first == 0:
        return 0.0
    smoothed = [first, *(value or _SMOOTHING for value in others)]
    return math.exp(math.fsum(map(math.log, smoothed)) / len(smoothed))


def _entailed(ngram: tuple[str, ...], vocabulary: Collection[str]) -> float:
    return sum(map(vocabulary.__contains__, ngram)) / len(ngram)


def _ngrams(tokens: Tokens, order: int) -> Counts:
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def _mentioned(entries: Sequence[Tokens], text: Tokens) -> float:
    """Return the mean share of an entry that the text has in order; 1 without entries."""
    if not entries:
        return 1.0
    return sum(_common(entry, text) / len(entry) for entry in entries) / len(entries)


def _common(first: Tokens, second: Tokens) -> int:
    """Return the length of the longest common subsequence, computed on the common words."""
    known = set(first)
    second = [token for token in second if token in known]
    if not second:
        return 0
    lengths = [0] * (len(second) + 1)
    for token in first:
        diagonal = 0
        for column, other in enumerate(second, 1):
            above = lengths[column]
            lengths[column] = diagonal + 1 if token == other else max(above, lengths[column - 1])
            diagonal = above
    return lengths[-1]
