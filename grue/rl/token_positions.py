"""Which tokens count, known on the host, so that taking what is known of them is no wait.

A device that is indexed by a mask has to say how many places the mask has before the host can go
on; one that is given the places has not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.machine.devices import sent
from common.training.shapes import check_axes, check_shape


def first_tokens(counts: Tensor, width: int) -> Tensor:
    """[N, T] on the CPU, true at the first tokens of each row: ``counts`` [N] of ``width``."""
    check_axes("counts", counts, "N")
    return torch.arange(width) < counts[:, None]


def places(mask: Tensor) -> Tensor:
    """[M] where a mask [n, T] on the CPU is true, in row-major order: row times T plus column."""
    return mask.flatten().nonzero().squeeze(-1)


def taken(values: Tensor, where: Tensor) -> Tensor:
    """[M, ...] of values [n, T, ...] those at the places ``where`` [M], on the same device."""
    return values.flatten(0, 1).index_select(0, where)


def chosen(values: Tensor, mask: Tensor) -> Tensor:
    """[M, ...] of values [n, T, ...] on any device those where a mask [n, T] on the CPU is true."""
    check_shape("mask", mask, values.shape[:2])
    return taken(values, sent(places(mask), values.device))


def put_back(counted: Tensor, mask: Tensor) -> Tensor:
    """[n, T] values [M] where a mask [n, T] on the CPU is true, and zeros elsewhere."""
    check_axes("mask", mask, "nT")
    where = sent(places(mask), counted.device)
    check_shape("counted", counted, where.shape)
    return counted.new_zeros(mask.numel()).index_copy(0, where, counted).view(mask.shape)
