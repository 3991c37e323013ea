"""Numbers of outputs' tokens: one row per output, with zeros after its last token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def pad_stack(rows: Sequence[Any]) -> Numbers:
    """Return [N] of N numbers, or [N, T] of N rows; shorter rows are padded.

    A number among rows is that of an output with a single token.
    """
    found = [np.asarray(row, dtype=np.float64) for row in rows]
    if all(row.ndim == 0 for row in found):
        return np.array(found)
    width = max(row.size for row in found)
    return np.array([np.pad(row.ravel(), (0, width - row.size)) for row in found])


def at_last_tokens(numbers: Numbers, num_tokens: Sequence[int], width: int) -> Numbers:
    """Return [N, T] the numbers [N] at the outputs' last tokens, for T = ``width``."""
    found = np.zeros((len(numbers), width))
    found[np.arange(len(numbers)), np.array(num_tokens) - 1] = numbers
    return found


def summed(numbers: Numbers) -> Numbers:
    """Return [N] the sums of numbers [N, T] over tokens; numbers [N] as they are."""
    return numbers if numbers.ndim == 1 else numbers.sum(1)
