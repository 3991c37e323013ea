"""CIDEr-D: values by hand, and the equations of the paper written out."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from common.errors import UserError
from grue import metrics
from grue.metrics.cider import cider_d, ngrams
from tests.grue.made_texts import made_texts

REFERENCES = [["a b"], ["a c"]]


def cider(outputs, references):
    metric = metrics.find("cider")
    return metric(metric.Args()).scores(made_texts(outputs, references))["lexical/cider"]


def test_values_by_hand() -> None:
    """Of two documents "a" is in both, so it weighs nothing; all else weighs ln 2.

    "a b" agrees in words and pairs, and has no longer n-grams. "c c" has twice what the reference
    has once, clipped: 1 / 2 for words, and no common pair.
    """
    np.testing.assert_allclose(cider(["a b", "c c"], REFERENCES), [5.0, 1.25], rtol=1e-14)


def test_difference_in_length_counts_in_pairs() -> None:
    """One of three weighty words, one of three pairs; two pairs more than the reference."""
    expected = 10 * math.exp(-4 / 72) * (2 / math.sqrt(3)) / 4
    assert cider(["a b c d", "a c"], REFERENCES)[0] == pytest.approx(expected, rel=1e-14)


def test_a_copy_of_four_own_words_or_more_has_the_largest_value() -> None:
    texts = ["one two three four five", "six seven eight nine"]
    assert cider(texts, [[text] for text in texts]) == pytest.approx([10, 10], rel=1e-14)


def test_references_are_averaged() -> None:
    both = cider(["a b", ""], [["a b", "x y"], ["z"]])[0]
    assert both == pytest.approx(cider(["a b", ""], [["a b"], ["x y"]])[0] / 2, rel=1e-14)


def test_empty_outputs_and_single_inputs_give_zero() -> None:
    assert cider(["", "word"], REFERENCES).tolist() == [0, 0]
    assert cider(["a b"], [["a b"]]).tolist() == [0]


def test_inputs_of_one_prompt_keep_their_own_references() -> None:
    assert cider(["a b", "a b"], REFERENCES).tolist() == [5, 0]


def test_case_and_marks_count() -> None:
    plain, other = cider(["A dog runs.", "x"], [["A dog runs."], ["y"]])[0], None
    other = cider(["a dog runs", "x"], [["A dog runs."], ["y"]])[0]
    assert plain == pytest.approx(10)
    assert other < 5


def test_an_input_without_references_is_named() -> None:
    with pytest.raises(UserError, match="'cider' needs references, and the input 'the prompt'"):
        cider(["a", "b"], [["a"], []])


def test_equals_the_equations_of_the_paper() -> None:
    """Equations 2 to 4 and CIDEr-D's clipping and damping, over dense vectors."""
    draw = np.random.default_rng(0)
    references = [
        [draw.choice(list("abcdef"), draw.integers(1, 9)).tolist() for _ in range(3)]
        for _ in range(7)
    ]
    outputs = [draw.choice(list("abcdefg"), draw.integers(1, 9)).tolist() for _ in range(7)]
    found = cider_d(
        [ngrams(x) for x in outputs], [[ngrams(x) for x in each] for each in references]
    )
    expected = [
        np.mean([_similarity(output, reference, references) for reference in each])
        for output, each in zip(outputs, references, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def _similarity(output, reference, corpus) -> float:
    """10 / 4 times the sum over orders of the clipped cosine of tf-idf vectors, damped."""
    total = 0.0
    for order in range(1, 5):
        names = sorted({*_of_order(output, order), *_of_order(reference, order)})
        if not names:
            continue
        weights = []
        for name in names:
            documents = sum(any(name in _of_order(text, order) for text in each) for each in corpus)
            weights.append(math.log(len(corpus) / max(1, documents)))
        own = np.array([_of_order(output, order)[name] for name in names]) * weights
        other = np.array([_of_order(reference, order)[name] for name in names]) * weights
        norms = np.linalg.norm(own) * np.linalg.norm(other)
        if norms > 0:
            total += np.minimum(own, other) @ other / norms
    pairs = max(len(output) - 1, 0) - max(len(reference) - 1, 0)
    return 10 / 4 * total * math.exp(-(pairs**2) / (2 * 6**2))


def _of_order(tokens, order) -> Counter:
    return Counter(zip(*(tokens[shift:] for shift in range(order)), strict=False))
