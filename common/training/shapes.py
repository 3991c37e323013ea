"""Small checks of shapes, with messages that name what does not fit; no device is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Shaped(Protocol):
    """A tensor of torch, or an array of NumPy."""

    @property
    def shape(self) -> Sequence[int]:
        """How long it is along each axis."""


def check_shape(name: str, tensor: Shaped, expected: Sequence[int]) -> None:
    """Does nothing where ``tensor`` is shaped as ``expected``.

    Raises:
        ValueError: it has another shape; both are named.
    """
    if tuple(tensor.shape) != tuple(expected):
        raise ValueError(f"'{name}' has shape {list(tensor.shape)}, expected {list(expected)}")


def check_shapes(expected: Sequence[int], **tensors: Shaped) -> None:
    """`check_shape` of several tensors by name, which would otherwise be stretched to each other.

    Raises:
        ValueError: one has another shape; both are named.
    """
    for name, tensor in tensors.items():
        check_shape(name, tensor, expected)


def check_axes(name: str, tensor: Shaped, axes: str) -> None:
    """Does nothing where ``tensor`` has one axis for each letter of ``axes``, such as ``"NT"``.

    Raises:
        ValueError: it has fewer or more.
    """
    if len(tensor.shape) != len(axes):
        raise ValueError(f"'{name}' has shape {list(tensor.shape)}, expected [{', '.join(axes)}]")
