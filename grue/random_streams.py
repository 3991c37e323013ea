"""Streams of random numbers that never overlap, each from a run's seed, a purpose and numbers.

An input's samples have a stream of their own, so that they do not depend on the batch.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Occasion(enum.IntEnum):
    """Purposes of random numbers, each with an id that is never 0."""

    EVALUATION = 1
    EXTRACTION = 2
    ROLLOUT = 3
    INPUTS_OF_ROLLOUT = 4
    UPDATE = 5
    DROPOUT = 6
    NORMALIZATION = 7
    SAMPLE = 8
    REWARD = 9
    TASK = 10
    LABELLED = 11
    TABULAR = 12


def generator(occasion: Occasion, seed: int, *numbers: int) -> np.random.Generator:
    """Return the generator of a purpose and its non-negative numbers."""
    return np.random.default_rng(_root(occasion, seed, *numbers))


def seed_of(occasion: Occasion, seed: int, *numbers: int) -> int:
    """Return a seed for torch's generators, as `generator` does for NumPy's."""
    return int(_root(occasion, seed, *numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def uniforms(
    occasion: Occasion,
    seed: int,
    inputs: Sequence[int],
    num_samples: int,
    num_tokens: int,
    *,
    numbers: Sequence[int] = (),
) -> Tensor:
    """Return [B, K, T] float64 in [0, 1): one number per token of K samples of each input.

    Args:
        occasion: purpose of the numbers.
        seed: root of all streams.
        inputs: B numbers of the inputs, independent of their place in a batch.
        num_samples: K samples of each input.
        num_tokens: T, the largest length of an output.
        numbers: further numbers that distinguish draws of the same purpose.
    """
    shape = num_samples, num_tokens
    roots = [generator(occasion, seed, *numbers, number) for number in inputs]
    return torch.from_numpy(np.stack([root.random(shape) for root in roots]))


def _root(occasion: Occasion, seed: int, *numbers: int) -> np.random.SeedSequence:
    """Return entropy words that differ for all different arguments.

    NumPy splits numbers into words of 32 bits and pads with zeros, so that [1] equals [1, 0], and
    [2**32] equals [0, 1]. Here the purpose and the count come first, and each number has two words.
    """
    words = [word for number in (seed, *numbers) for word in divmod(number, 2**32)]
    return np.random.SeedSequence([occasion, len(numbers), *words])
