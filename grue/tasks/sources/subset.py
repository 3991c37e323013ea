"""Which of a split's samples are used."""

from __future__ import annotations

import numpy as np


def subset(num_samples: int, *, fraction: float | None, count: int | None, seed: int) -> list[int]:
    """Positions of the samples that are used, in the published order.

    A share or a number of samples are the first of ``RandomState(seed).permutation``; without
    either, all samples stand in their own order. Of a number beyond what is there, all are used.

    Args:
        num_samples: how many there are.
        fraction: share of them in (0, 1], rounded down; None for no share.
        count: how many of them; None for no number.
        seed: of the permutation.
    """
    if fraction is None and count is None:
        return list(range(num_samples))
    wanted = int(fraction * num_samples) if fraction is not None else count
    positions: list[int] = np.random.RandomState(seed).permutation(num_samples)[:wanted].tolist()
    return positions
