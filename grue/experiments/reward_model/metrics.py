"""Agreement of scores with preferences and ratings: pure functions of arrays over M examples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from grue.rl.tolerance import TOLERANCE

Floats = NDArray[np.float64]


def accuracy(differences: Floats) -> float:
    """Return the share of pairs whose preferred response has the higher score; ties do not count.

    Args:
        differences: [M] score of the preferred response minus that of the other one.

    Returns:
        From 0 to 1; NaN if all scores are equal.
    """
    decided = np.count_nonzero(differences)
    return float(np.count_nonzero(differences > 0) / decided) if decided else math.nan


def calibration_error(chosen: Floats, correct: Floats, num_bins: int = 10) -> float:
    """Return the expected calibration error (Guo et al. 2017, equation 3), from 0 to 1.

    It is the mean distance, over bins of equal width weighted by their counts, between the mean
    probability of the predicted answer and the share of right predictions.

    Args:
        chosen: [M] probability of the predicted answer.
        correct: [M] 1 for a right prediction, 0 for a wrong one, 1/2 for a tie.
        num_bins: number of bins of [0, 1].
    """
    bins = np.minimum((chosen * num_bins).astype(int), num_bins - 1)
    gaps = np.bincount(bins, correct - chosen, num_bins)
    return float(np.abs(gaps).sum() / len(chosen))


def pair_calibration_error(probabilities: Floats) -> float:
    """Return the `calibration_error` of [M] probabilities that the preferred response is better."""
    predicted = np.maximum(probabilities, 1 - probabilities)
    return calibration_error(predicted, 0.5 + 0.5 * np.sign(probabilities - 0.5))


def correlation(predictions: Floats, labels: Floats) -> float:
    """Return Pearson's correlation; NaN if one of both does not vary."""
    a, b = _centred(predictions), _centred(labels)
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else math.nan


def calibration_slope(predictions: Floats, labels: Floats) -> float:
    """Return the slope of the least-squares line of labels over predictions; 1 is calibrated.

    It is NaN if the predictions do not vary.
    """
    a = _centred(predictions)
    return float(a @ labels / (a @ a)) if a @ a > 0 else math.nan


def _centred(values: Floats) -> Floats:
    """Return [M] values minus their mean; zeros if they differ by rounding alone."""
    above = values.astype(np.float64) - values.min(initial=np.inf)
    are_equal = above.max(initial=0) <= TOLERANCE * np.abs(values).max(initial=0)
    return np.zeros_like(above) if are_equal else above - above.mean()
