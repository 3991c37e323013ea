"""Log-linear policies in closed form: probabilities, and gradients with respect to the logits.

All functions take arrays [..., C] over the outputs of an input, so that any number of runs and
inputs goes through at once, and each row has the same result as alone.
"""

from __future__ import annotations

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the log-probabilities of [..., C] logits; finite where a probability underflows."""
    shifted = logits - logits.max(-1, keepdims=True)
    log_probs: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return log_probs


def mean(probs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return [..., 1] the expectation of [..., C] values."""
    total: np.ndarray = (probs * values).sum(-1, keepdims=True)
    return total


def mean_gradient(probs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return [..., C] the gradient of the expectation of fixed values: pi (f - E f)."""
    gradient: np.ndarray = probs * (values - mean(probs, values))
    return gradient


def drawn_outputs(probs: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Return [..., C] ones at the drawn outputs and zeros elsewhere, by inversion.

    Args:
        probs: [..., C].
        uniforms: [...] in [0, 1).
    """
    reached = (uniforms[..., None] < probs.cumsum(-1)).astype(probs.dtype)
    reached[..., -1] = 1  # the sum may be rounded to less than 1
    reached[..., 1:] -= reached[..., :-1].copy()
    return reached
