"""Diversity of outputs: type/token ratios, n-gram counts, entropies and lengths.

These are the statistics of the GEM benchmark (Gehrmann et al., The GEM Benchmark, 2021, section
4.2).
"""

from __future__ import annotations

import math
import statistics
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from common.config.base import Config
from common.config.fit import PositiveInt
from grue.metrics.metric import METRICS, Metric, Scores
from grue.metrics.tokens.words import words
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.policies.policy import Policy

Tokens = list[str]
Counts = Counter[tuple[str, ...]]

_ORDERS = (1, 2, 3)
_PUNCTUATION = frozenset(string.punctuation)


class DiversityArgs(Config):
    """Key of diversity."""

    window_size: PositiveInt = 100
    """Number of words of a window over which types are counted."""


@METRICS.register("diversity")
class Diversity(Metric[DiversityArgs]):
    """Statistics of lower-cased words, with punctuation marks and without them.

    The names begin with ``diversity_metrics/``. A text of a script without blanks between words is
    one word. The mean type/token ratio is missing where the outputs do not fill one window, because
    it is undefined there.
    """

    names = ("diversity_metrics/*",)
    Args = DiversityArgs
    has_scores: ClassVar[bool] = False

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] the statistics of each output alone, without the ratio over windows."""
        each = [
            dict(_statistics([tokens])) | dict(_statistics([marked], "-nopunct"))
            for tokens, marked in _both(texts.outputs)
        ]
        names = each[0] if each else {}
        return {_name(key): np.array([found[key] for found in each], np.float64) for key in names}

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> Mapping[str, float]:
        """Return the statistics of all outputs together."""
        found: dict[str, float] = {}
        pairs = list(_both(texts.outputs))
        size = self.args.window_size
        for kind, (ratio, others) in enumerate((("", ""), ("_nopunct", "-nopunct"))):
            outputs = [pair[kind] for pair in pairs]
            tokens = [token for output in outputs for token in output]
            if len(tokens) >= size:
                found[_name(f"msttr-{size}{ratio}")] = msttr(tokens, size)
            found |= {_name(key): value for key, value in _statistics(outputs, others)}
        return found


def _name(key: str) -> str:
    return f"diversity_metrics/{key}"


def _both(outputs: Sequence[str]) -> Iterator[tuple[Tokens, Tokens]]:
    """Yield the words of each output, with and without single punctuation marks."""
    for output in outputs:
        tokens = words(output.lower())
        yield tokens, [token for token in tokens if token not in _PUNCTUATION]


def _statistics(outputs: Sequence[Tokens], suffix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the statistics of outputs but their type/token ratio; names end with ``suffix``."""
    lengths = [len(tokens) for tokens in outputs]
    yield f"total_length{suffix}", float(sum(lengths))
    yield f"mean_pred_length{suffix}", statistics.fmean(lengths)
    yield f"std_pred_length{suffix}", statistics.pstdev(lengths)
    yield f"median_pred_length{suffix}", float(statistics.median(lengths))
    yield f"min_pred_length{suffix}", float(min(lengths))
    yield f"max_pred_length{suffix}", float(max(lengths))

    shorter: Counts = Counter()
    for order in _ORDERS:
        counts = ngrams(outputs, order)
        total = counts.total()
        yield f"distinct-{order}{suffix}", len(counts) / total if total else 0.0
        yield f"vocab_size-{order}{suffix}", float(len(counts))
        yield f"unique-{order}{suffix}", float(sum(count == 1 for count in counts.values()))
        yield f"entropy-{order}{suffix}", entropy(counts)
        if order > 1:
            yield f"cond_entropy-{order}{suffix}", conditional_entropy(counts, shorter)
        shorter = counts


def ngrams(outputs: Sequence[Tokens], order: int) -> Counts:
    """Return the number of occurrences of each n-gram; none crosses outputs."""
    return Counter(
        tuple(tokens[start : start + order])
        for tokens in outputs
        for start in range(len(tokens) - order + 1)
    )


def entropy(counts: Counts) -> float:
    """Return the entropy in bits of the distribution that the counts give; 0 without counts."""
    total = counts.total()
    return math.fsum(count / total * math.log2(total / count) for count in counts.values())


def conditional_entropy(joint: Counts, context: Counts) -> float:
    """Return the conditional entropy of an n-gram's last word, in bits; 0 without n-grams.

    It is the sum over n-grams xy of -p(xy) log2(p(xy) / p(x)). The share p(x) is among all shorter
    n-grams, including those at the end of an output, so that the sum may be negative for short
    outputs.
    """
    total, shorter = joint.total(), context.total()
    return math.fsum(
        count / total * math.log2(context[ngram[:-1]] / shorter * total / count)
        for ngram, count in joint.items()
    )


def msttr(tokens: Sequence[str], window_size: int) -> float:
    """Return the mean segmental type/token ratio, rounded to five digits.

    Segments are adjacent full windows. Words after the last full window are dropped; at least one
    window must be full.
    """
    starts = range(0, len(tokens) - window_size + 1, window_size)
    ratios = [len(set(tokens[start : start + window_size])) / window_size for start in starts]
    return round(statistics.fmean(ratios), 5)
