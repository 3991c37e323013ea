"""Filter of groups by the variance of their rewards (RAGEN-2, arXiv 2604.06268)."""

from __future__ import annotations

import torch
from torch import Tensor

from common.training.shape_checks import check_axes


def of_largest_share(variances: Tensor, share: float) -> Tensor:
    """Return [B] bool, true for the fewest groups that have a share of the summed variance.

    Groups without variance are never among them.

    Args:
        variances: [B] variances of the groups' rewards, 0 in silent groups.
        share: share of their sum, in (0, 1].
    """
    check_axes("variances", variances, "B")
    order = torch.argsort(variances, descending=True, stable=True)
    summed = variances[order].cumsum(0)
    # A group is needed where those before it fall short by more than rounding.
    before = summed - variances[order]
    needed = before < share * summed[-1] * (1 - 1e-9)
    return _at(order[needed], variances)


def of_largest_number(variances: Tensor, number: int) -> Tensor:
    """Return [B] bool, true for the ``number`` groups of the largest variances [B] above 0."""
    check_axes("variances", variances, "B")
    return _at(torch.argsort(variances, descending=True, stable=True)[:number], variances)


def _at(places: Tensor, variances: Tensor) -> Tensor:
    """Return [B] bool, true at those of the places whose variance is above 0."""
    found = torch.zeros_like(variances, dtype=torch.bool)
    found[places] = True
    return found & (variances > 0)
