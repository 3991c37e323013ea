"""Small checks of tensors, with messages that name what does not fit."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def check_shape(name: str, tensor: Tensor, expected: Sequence[int]) -> None:
    """Does nothing where ``tensor`` is shaped as ``expected``.

    Raises:
        ValueError: it has another shape; both are named.
    """
    if tuple(tensor.shape) != tuple(expected):
        raise ValueError(f"'{name}' has shape {list(tensor.shape)}, expected {list(expected)}")
