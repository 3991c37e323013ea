"""Diversity: the published names, and values of distributions that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grue import metrics
from grue.metrics.diversity import conditional_entropy, entropy, msttr, ngrams
from tests.grue.made_texts import made_texts

PREFIX = "diversity_metrics/"


def diversity(window_size: int = 100):
    metric = metrics.find("diversity")
    return metric(metric.Args(window_size=window_size))


def corpus(outputs, **args):
    found = diversity(**args).corpus(made_texts(outputs))
    return {key.removeprefix(PREFIX): value for key, value in found.items()}


def test_names_are_the_published_ones() -> None:
    expected = {"msttr-100", "msttr-100_nopunct"}
    for suffix in ("", "-nopunct"):
        expected |= {f"total_length{suffix}"}
        expected |= {f"{kind}_pred_length{suffix}" for kind in
                     ("mean", "std", "median", "min", "max")}  # fmt: skip
        expected |= {f"{kind}-{order}{suffix}" for order in (1, 2, 3) for kind in
                     ("distinct", "vocab_size", "unique", "entropy")}  # fmt: skip
        expected |= {f"cond_entropy-{order}{suffix}" for order in (2, 3)}
    found = diversity().corpus(made_texts(["many words and more words " * 30]))
    assert set(found) == {PREFIX + key for key in expected}


def test_values_by_hand() -> None:
    """Words a b a c | a . with four different pairs; "a" is half of all words."""
    found = corpus(["A b a c", "a."])
    third = math.log2(2 / 3)
    expected = {
        "total_length": 6, "mean_pred_length": 3, "std_pred_length": 1, "median_pred_length": 3,
        "min_pred_length": 2, "max_pred_length": 4,
        "distinct-1": 4 / 6, "vocab_size-1": 4, "unique-1": 3,
        "entropy-1": 0.5 + 0.5 * math.log2(6),
        "distinct-2": 1, "vocab_size-2": 4, "unique-2": 4, "entropy-2": 2,
        "cond_entropy-2": 0.75 + 0.25 * third,
        "distinct-3": 1, "vocab_size-3": 2, "unique-3": 2, "entropy-3": 1, "cond_entropy-3": -1,
        "total_length-nopunct": 5, "max_pred_length-nopunct": 4, "min_pred_length-nopunct": 1,
        "vocab_size-1-nopunct": 3, "vocab_size-2-nopunct": 3,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-12)


def test_conditional_entropy_of_a_cycle_is_nearly_nothing() -> None:
    """Of the words of one long output each but the last has a next one."""
    tokens = ["a", "b"] * 500
    single, pairs = ngrams([tokens], 1), ngrams([tokens], 2)
    assert entropy(single) == 1
    assert conditional_entropy(pairs, single) == pytest.approx(0, abs=1e-3)


def test_ratio_is_over_full_windows() -> None:
    assert msttr(["a", "b", "a", "a", "c"], 2) == 0.75
    assert corpus(["a b a", "a c"], window_size=2)["msttr-2"] == 0.75  # across outputs
    assert msttr(["a", "a", "a"], 3) == 0.33333


def test_ratio_is_left_out_where_no_window_is_full() -> None:
    found = corpus(["a b c ."], window_size=4)
    assert found["msttr-4"] == 1
    assert "msttr-4_nopunct" not in found
    assert all(math.isfinite(value) for value in found.values())


def test_outputs_without_words_have_zeros() -> None:
    assert set(corpus(["", " "]).values()) == {0}


def test_scores_are_the_statistics_of_each_output_alone() -> None:
    outputs = ["the cat sat.", "", "word", "one two one two one"]
    found = diversity().scores(made_texts(outputs))
    for row, output in enumerate(outputs):
        alone = diversity().corpus(made_texts([output]))
        assert {key: values[row] for key, values in found.items()} == alone
    assert all(np.isfinite(values).all() for values in found.values())
    assert not diversity().has_scores
