"""Checks of shapes, with messages that name the tensor that does not fit.

No device is waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Shaped(Protocol):
    """A tensor of torch, or an array of NumPy."""

    @property
    def shape(self) -> Sequence[int]:
        """Length along each axis."""


def check_shape(name: str, tensor: Shaped, expected: Sequence[int]) -> None:
    """Check that ``tensor`` has the shape ``expected``.

    Raises:
        ValueError: it has another shape; the message has both.
    """
    if tuple(tensor.shape) != tuple(expected):
        raise ValueError(f"'{name}' has shape {list(tensor.shape)}, expected {list(expected)}")


def check_shapes(expected: Sequence[int], **tensors: Shaped) -> None:
    """Check the shapes of several tensors by name, which would otherwise be broadcast.

    Raises:
        ValueError: one has another shape; the message has both.
    """
    for name, tensor in tensors.items():
        check_shape(name, tensor, expected)


def check_axes(name: str, tensor: Shaped, axes: str) -> None:
    """Check that ``tensor`` has one axis for each letter of ``axes``, such as ``"NT"``.

    Raises:
        ValueError: it has fewer or more axes.
    """
    if len(tensor.shape) != len(axes):
        raise ValueError(f"'{name}' has shape {list(tensor.shape)}, expected [{', '.join(axes)}]")
