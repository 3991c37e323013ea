"""Selection of masked tokens by positions known on the host, which waits for no device.

Indexing a device tensor by a mask makes the host wait for the number of selected tokens. Indexing
by positions does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.machine.devices import sent
from common.training.shape_checks import check_axes, check_shape


def first_tokens(counts: Tensor, width: int) -> Tensor:
    """Return the CPU mask [N, width] that is true at the first ``counts`` [N] tokens."""
    check_axes("counts", counts, "N")
    return torch.arange(width) < counts[:, None]


def places(mask: Tensor) -> Tensor:
    """Return [M] the flat positions, row times T plus column, where a CPU mask [n, T] is true."""
    return mask.flatten().nonzero().squeeze(-1)


def taken(values: Tensor, where: Tensor) -> Tensor:
    """Return [M, ...] the values [n, T, ...] at flat positions ``where`` [M] on their device."""
    return values.flatten(0, 1).index_select(0, where)


def chosen(values: Tensor, mask: Tensor) -> Tensor:
    """Return [M, ...] the values [n, T, ...], on any device, where a CPU mask [n, T] is true."""
    check_shape("mask", mask, values.shape[:2])
    return taken(values, sent(places(mask), values.device))


def put_back(counted: Tensor, mask: Tensor) -> Tensor:
    """Return [n, T] the values [M] where a CPU mask [n, T] is true, and zeros elsewhere."""
    check_axes("mask", mask, "nT")
    where = sent(places(mask), counted.device)
    check_shape("counted", counted, where.shape)
    return counted.new_zeros(mask.numel()).index_copy(0, where, counted).view(mask.shape)
