"""Sentence on the expected gradients of inputs with a small and with a large reward std."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ERRORS = 2.0
"""Standard errors above zero from which a squared norm counts as measured."""


def sentence(stds: Floats, squared_norms: Floats, errors: Floats) -> str:
    """Return a plain sentence with the mean squared norms of two halves of the inputs.

    Means over inputs of unbiased estimates are unbiased; those above their errors alone would be
    too large. The standard error of a mean is that over inputs; one input has none.

    Args:
        stds: [N] reward stds.
        squared_norms: [N] unbiased estimates of the squared norm of each expected gradient.
        errors: [N] their standard errors.
    """
    order = np.argsort(stds, kind="stable")
    middle = (len(order) + 1) // 2
    small, large = order[:middle], order[middle:]
    measured = int((squared_norms > ERRORS * errors).sum())
    return (
        f"The squared norm of the expected gradient is {_mean(squared_norms[small])} over the half "
        f"of the inputs with the smaller reward std (mean {stds[small].mean():.3g}) and "
        f"{_mean(squared_norms[large])} over the other half (mean std {stds[large].mean():.3g}); "
        f"it is more than two standard errors above 0 for {measured} of {len(stds)} inputs."
    )


def _mean(values: Floats) -> str:
    mean = f"{values.mean():.3g} on average"
    if len(values) < 2:
        return mean
    return f"{mean} (standard error {values.std(ddof=1) / len(values) ** 0.5:.2g})"
