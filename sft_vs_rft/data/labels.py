"""Label sets and label changes, in the published order of random draws."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_label_sets(num_classes: int, k: int) -> Tensor:
    """Draw a set of k labels for every class c: c itself and k - 1 others.

    It draws ``torch.rand(C, C - 1)`` from the global generator. The argsort of row c orders the
    other classes, taken in ascending order. Nothing is drawn for k = 1.

    Args:
        num_classes: number of classes, C.
        k: labels per set, at most C.

    Returns:
        [C, k] int64; the first column is 0 .. C - 1.
    """
    own = torch.arange(num_classes)[:, None]  # [C, 1]
    if k == 1:
        return own
    order = torch.rand(num_classes, num_classes - 1).argsort(dim=1)[:, : k - 1]  # [C, k-1]
    return torch.cat([own, order + (order >= own)], dim=1)  # skipping c itself


def draw_changed(num_inputs: int, share: float) -> Tensor:
    """Draw the positions of the inputs whose label is changed.

    It draws ``torch.randperm(n)`` from the global generator; nothing is drawn for a share of 0.

    Returns:
        [int(n * share)] int64, in the order drawn.
    """
    if share == 0:
        return torch.empty(0, dtype=torch.int64)
    return torch.randperm(num_inputs)[: int(num_inputs * share)]


def draw_labels_outside(labels: Tensor, label_sets: Tensor) -> Tensor:
    """Draw a new label for every label, uniform over the classes outside the label's set.

    It draws ``torch.randint(0, C - k, (m,))`` from the global generator, indices into the
    candidates in ascending order.

    Args:
        labels: [m] int64, the present labels.
        label_sets: [C, k] from `draw_label_sets`, k < C.

    Returns:
        [m] int64.
    """
    num_classes, k = label_sets.shape
    inside = torch.zeros(num_classes, num_classes, dtype=torch.bool).scatter(1, label_sets, True)
    outside = (~inside).nonzero()[:, 1].view(num_classes, num_classes - k)  # [C, C-k] ascending
    return outside[labels, torch.randint(0, num_classes - k, labels.shape)]
