"""Comparison of rewards up to rounding: values that differ by rounding alone count as equal.

Equal rewards of an input carry no signal. Their rounding errors must not be standardized into
advantages, nor reach an optimiser such as Adam, which makes a full step of any gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.training.shape_checks import check_shape
from grue.rl.tolerance import TOLERANCE


def are_equal(values: Tensor, dim: int = -1, tolerance: float = TOLERANCE) -> Tensor:
    """Return [..., 1] whether all values along a dimension are equal within a tolerance.

    The tolerance is a share of the largest |value|.
    """
    least, most = values.amin(dim, keepdim=True), values.amax(dim, keepdim=True)
    return most - least <= tolerance * torch.maximum(least.abs(), most.abs())


def centred(values: Tensor, dim: int = -1, tolerance: float = TOLERANCE) -> Tensor:
    """Return [...] the values minus their mean along a dimension; zeros where they are equal."""
    above = values - values.amin(dim, keepdim=True)  # so that no digits of a large mean are lost
    is_equal = are_equal(values, dim, tolerance)
    return torch.where(is_equal, 0.0, above - above.mean(dim, keepdim=True))


def scale_of(values: Tensor, dim: int = -1, *, correction: int = 1) -> Tensor:
    """Return [..., 1] the standard deviation along a dimension; 1 where the values are equal.

    ``correction`` 1 divides squared deviations by their number less one, 0 by their number.
    """
    count = max(values.shape[dim] - correction, 1)  # one value alone is equal to itself
    deviations, equal = centred(values, dim), are_equal(values, dim)
    # In units of the largest, for squares of tiny or huge ones would leave float32.
    unit = torch.where(equal, 1.0, deviations.abs().amax(dim, keepdim=True))
    variance = (deviations / unit).square().sum(dim, keepdim=True) / count
    return torch.where(equal, 1.0, unit * variance.sqrt())


def minus(values: Tensor, baseline: Tensor) -> Tensor:
    """Return [...] values minus a baseline of their shape; zeros where they equal it."""
    check_shape("baseline", baseline, values.shape)
    largest = torch.maximum(values.abs(), baseline.abs())
    difference = values - baseline
    return torch.where(difference.abs() <= TOLERANCE * largest, 0.0, difference)
