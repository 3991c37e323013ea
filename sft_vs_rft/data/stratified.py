"""Stratified random subsets, drawn as scikit-learn draws them, without the import of scikit-learn.

Published runs used its ``train_test_split(..., train_size=n, stratify=labels)``, with NumPy's
global generator.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


def stratified_subset(labels: IntArray, size: int) -> IntArray:
    """Return the indices [size] of a random subset with each class in its share of ``labels`` [N].

    The subset, and the state of NumPy's global generator afterwards, are those of scikit-learn,
    which draws and shuffles the other part too.
    """
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(classes, kind="stable"), np.cumsum(counts)[:-1])
    # 1. How many of each class: C numbers for the subset, and for the rest.
    taken = _shares(counts, size)
    left = _shares(counts - taken, len(labels) - size)
    # 2. Which ones.
    shuffled = [own[np.random.permutation(len(own))] for own in members]
    # 3. In which order; that of the rest matters to later draws alone.
    subset = np.concatenate([own[:n] for own, n in zip(shuffled, taken, strict=True)])
    subset = subset[np.random.permutation(size)]
    np.random.permutation(int(left.sum()))
    return subset


def _shares(counts: IntArray, size: int) -> IntArray:
    """Return how many of each class are taken, ``size`` together, in proportion to ``counts`` [C].

    Fractions are rounded down, and the largest remainders then up; ties are broken by chance.
    """
    exact = counts / counts.sum() * size
    shares = np.floor(exact)
    remainders = exact - shares
    lacking = int(size - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if lacking <= 0:
            break
        (alike,) = np.where(remainders == remainder)
        up = np.random.choice(alike, size=min(len(alike), lacking), replace=False)
        shares[up] += 1
        lacking -= len(up)
    found: IntArray = shares.astype(np.int64)
    return found
