"""SummaC's consistency scores from NLI matrices: zero-shot (ZS) and convolution (Conv).

Laban et al. 2022 (arXiv 2111.09525), sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from grue.scorers.classifier import probabilities
from grue.scorers.entailment import Matrix

_AGGREGATES: Mapping[str, Callable[..., Any]] = {"max": np.max, "mean": np.mean, "min": np.min}
_ROWS = 10
"""Number of summary pieces that the convolution reads."""
_PERCENTILES = (0, 0.01, 0.02, 0.03, 0.04, 0.07, 0.13, 0.37, 0.90, 0.91, 0.92, 0.93, 0.94, 0.95,
                0.955, 0.96, 0.965, 0.97, 0.975, 0.98, 0.985, 0.99, 0.995, 1)  # fmt: skip


def zero_shot(matrix: Matrix, *, op1: str, op2: str, use_ent: bool, use_con: bool) -> float:
    """Return entailment minus contradiction of a summary.

    Without entailment, 1 minus contradiction. ``op1`` (max, mean or min) reduces both probabilities
    over the document's pieces, ``op2`` over the summary's.
    """
    entailment, contradiction = (_AGGREGATES[op1](part, axis=0) for part in matrix[:2])
    if use_ent and use_con:
        scores = entailment - contradiction
    else:
        scores = entailment if use_ent else 1.0 - contradiction
    return float(_AGGREGATES[op2](scores))


def bin_edges(bins: str) -> NDArray[np.float64]:
    """Return the bin edges of ``even<n>`` (n bins from 0 to 1) or of ``percentile``."""
    if bins == "percentile":
        return np.array(_PERCENTILES, dtype=np.float64)
    return np.append(np.arange(0, 1, 1 / int(bins.removeprefix("even"))), 1.0)


def histograms(matrix: Matrix, edges: NDArray[np.float64], labels: str) -> NDArray[np.float64]:
    """Return [S, F] concatenated histograms over the document's pieces, for each summary piece.

    Args:
        matrix: [3 M, D, S] of M classifiers.
        edges: [E + 1] of the bins.
        labels: probabilities to use, some of the letters e, c and n.

    Returns:
        F = M * len(labels) * E counts; at most ten summary pieces are used.
    """
    chosen = [row for row in range(len(matrix)) if "ecn"[row % 3] in labels]
    return np.array(
        [
            np.concatenate([np.histogram(matrix[row, :, piece], edges)[0] for row in chosen])
            for piece in range(min(matrix.shape[2], _ROWS))
        ],
        dtype=np.float64,
    )


class Convolution:
    """The published network: a filter over histograms, followed by a linear layer."""

    NAMES = ("mlp.weight", "mlp.bias", "layer_final.weight", "layer_final.bias")

    def __init__(self, path: str, *, size: int, agg: str) -> None:
        """Read the weights file.

        Args:
            path: of a ``torch.save``d dictionary with the `NAMES`.
            size: numbers in a histogram row.
            agg: max, mean, min or all: reduction of the filter's outputs to three features.

        Raises:
            UserError: the file cannot be read, or fits other histograms.
        """
        import torch

        try:
            found = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True)
            weights = [found[name].double().numpy() for name in self.NAMES]
        except Exception as error:  # what a damaged file raises is open
            raise UserError(f"'start_file' = '{path}': cannot be read ({error})") from error
        if weights[0].shape != (1, size):
            raise UserError(
                f"'start_file' = '{path}': its filter has {weights[0].shape[1]} weights and the "
                f"histograms {size}; 'models', 'bins' and 'nli_labels' must be those of its "
                "training"
            )
        self._filter, self._bias, self._final, self._final_bias = weights
        self._agg = ("min", "mean", "max") if agg == "all" else (agg,) * 3

    def scores(self, rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return [N] the probability of consistency from histograms [S, F] of each summary."""
        features = np.array([self._features(found) for found in rows]).reshape(-1, 3)
        logits = features @ self._final.T + self._final_bias
        found: NDArray[np.float64] = probabilities(logits)[:, 1]
        return found

    def _features(self, rows: NDArray[np.float64]) -> list[float]:
        filtered = rows @ self._filter[0] + self._bias
        return [float(_AGGREGATES[name](filtered)) for name in self._agg]
