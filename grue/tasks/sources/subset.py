"""Random subset of a split's samples."""

from __future__ import annotations

import numpy as np


def subset(num_samples: int, *, fraction: float | None, count: int | None, seed: int) -> list[int]:
    """Return the positions of the samples in the subset, in the published order.

    A share or a number of samples are the first of ``RandomState(seed).permutation``; without
    either, all samples are used in their own order. If the number is larger than the split, all are
    used.

    Args:
        num_samples: number of samples of the split.
        fraction: share of them in (0, 1], rounded down; None for no share.
        count: number of samples to use; None for no number.
        seed: of the permutation.
    """
    if fraction is None and count is None:
        return list(range(num_samples))
    wanted = int(fraction * num_samples) if fraction is not None else count
    positions: list[int] = np.random.RandomState(seed).permutation(num_samples)[:wanted].tolist()
    return positions
