"""Weights at the start: as given, drawn, or solved for from probabilities."""

from __future__ import annotations

import numpy as np

from common.errors import UserError
from common.training.seeding import seeded
from sft_vs_rft.log_linear.config import LogLinearConfig
from sft_vs_rft.log_linear.policy import log_softmax
from sft_vs_rft.log_linear.setting import Setting

_LEAST_PROBABILITY = 1e-8
"""Probability that stands for smaller ones, as a softmax has no zeros."""
_TOLERANCE = 1e-6
"""Largest difference of a probability from the one that is asked for."""


def start_weights(config: LogLinearConfig, setting: Setting) -> np.ndarray:
    """Return [D] the weights at the start, in the setting's precision.

    Raises:
        UserError: no weights give the probabilities that are asked for.
    """
    if setting.start_probabilities is not None:
        solve = closest_weights if config.weights_solver == "published" else exact_weights
        weights = solve(setting.features, setting.start_probabilities, config.logits_temperature)
        return weights.astype(setting.features.dtype)
    if setting.start_weights is not None:
        return setting.start_weights.copy()
    return _drawn_weights(config)


def _drawn_weights(config: LogLinearConfig) -> np.ndarray:
    """Return [D] zeros or normal weights, drawn after a linear layer's own, as published."""
    import torch

    dim, dtype = config.feature_dim, getattr(torch, config.dtype)
    with seeded(config.init_rnd_seed):
        weights = torch.nn.Linear(dim, 1, bias=False).weight.detach()[0]
        weights = (
            weights.normal_(std=config.init_std) if config.init_type == "gauss" else weights.zero_()
        )
    return weights.to(dtype).numpy()


def closest_weights(
    features: np.ndarray, probabilities: np.ndarray, temperature: float
) -> np.ndarray:
    """Return [D] float64 weights whose logits are closest to the logarithms, times temperature.

    The published solver: of all least-squares solutions the one of least norm. Logits may have any
    common constant, which it does not use, and it may be far from the probabilities.

    Args:
        features: [B, C, D].
        probabilities: [B, C]; smaller ones than 1e-8 count as this.
        temperature: divisor of the logits.
    """
    logits = temperature * np.log(probabilities.clip(_LEAST_PROBABILITY, 1))  # [B, C]
    return _least_squares(features, logits)


def exact_weights(
    features: np.ndarray, probabilities: np.ndarray, temperature: float
) -> np.ndarray:
    """Return [D] float64 weights that give the probabilities, for arguments of `closest_weights`.

    Those of `closest_weights` where they do. Otherwise the logits of each input get a constant of
    their own: features and logits are taken about their means over the outputs.

    Raises:
        UserError: no weights give the probabilities; the message has the worst of them.
    """
    weights = closest_weights(features, probabilities, temperature)
    if _largest_error(features, probabilities, temperature, weights)[0] <= _TOLERANCE:
        return weights
    logits = temperature * np.log(probabilities.clip(_LEAST_PROBABILITY, 1))
    weights = _least_squares(
        features - features.mean(1, keepdims=True), logits - logits.mean(1, keepdims=True)
    )
    error, worst, given = _largest_error(features, probabilities, temperature, weights)
    if error > _TOLERANCE:
        raise UserError(
            f"no weights give these probabilities: with the closest ones, output {worst[1]} of "
            f"input {worst[0]} has {given:.6g} instead of {probabilities[worst]:.6g}; give other "
            "probabilities, more features, or weights, or take the closest ones with "
            "'weights_solver' = 'published'"
        )
    return weights


def _least_squares(features: np.ndarray, logits: np.ndarray) -> np.ndarray:
    rows = features.reshape(-1, features.shape[-1]).astype(np.float64)  # [B * C, D]
    solution: np.ndarray = np.linalg.lstsq(rows, logits.ravel().astype(np.float64), rcond=None)[0]
    return solution


def _largest_error(
    features: np.ndarray, probabilities: np.ndarray, temperature: float, weights: np.ndarray
) -> tuple[float, tuple[int, ...], float]:
    """Return the largest error of a probability, its place, and the probability there is."""
    given = np.exp(log_softmax(features @ weights / temperature))
    errors = np.abs(given - probabilities)
    worst = tuple(map(int, np.unravel_index(errors.argmax(), errors.shape)))
    return float(errors[worst]), worst, float(given[worst])
