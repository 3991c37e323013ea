"""Measures of reward models, in cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from grue.experiments.reward_model import metrics as measures


def test_equal_scores_do_not_count() -> None:
    assert measures.accuracy(np.array([0.5, 0.0, -1.0, 2.0])) == pytest.approx(2 / 3)
    assert math.isnan(measures.accuracy(np.zeros(3)))


def test_calibration_error_of_bins() -> None:
    chosen = np.array([0.75, 0.75, 0.75, 0.75, 0.95, 0.95])
    correct = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    assert measures.calibration_error(chosen, correct) == pytest.approx(0.45 * 2 / 6)
    assert measures.calibration_error(np.ones(3), np.ones(3)) == 0


def test_a_pair_is_right_wrong_or_a_tie() -> None:
    found = measures.pair_calibration_error(np.array([0.8, 0.8, 0.8, 0.8, 0.2]))
    assert found == pytest.approx(0, abs=1e-12)
    assert measures.pair_calibration_error(np.array([0.5, 0.5])) == 0
    assert measures.pair_calibration_error(np.array([0.1])) == pytest.approx(0.9)


def test_correlation_and_slope() -> None:
    predictions = np.array([0.0, 1.0, 2.0, 4.0])
    assert measures.correlation(predictions, 3 - 2 * predictions) == pytest.approx(-1)
    assert measures.calibration_slope(predictions, 3 - 2 * predictions) == pytest.approx(-2)
    noisy = predictions + np.array([0.5, -1.0, 0.25, 0.5])
    assert measures.correlation(predictions, noisy) == pytest.approx(
        np.corrcoef(predictions, noisy)[0, 1]
    )
    assert math.isnan(measures.correlation(np.ones(4), noisy))
    assert math.isnan(measures.calibration_slope(np.ones(4), noisy))


def test_scores_that_rounding_alone_tells_apart_do_not_vary() -> None:
    labels = np.array([1.0, 2.0, 3.0])
    for scores in (np.full(3, 0.1), np.array([0.7, 0.7, np.nextafter(np.float32(0.7), 1)])):
        assert math.isnan(measures.calibration_slope(scores, labels))
        assert math.isnan(measures.correlation(scores, labels))
        assert math.isnan(measures.correlation(labels, scores))
    assert measures.correlation(1e-9 * labels, labels) == pytest.approx(1)
