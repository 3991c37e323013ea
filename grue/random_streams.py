"""Streams of random numbers that never meet, each from a run's seed, an occasion and its numbers.

An input's samples have a stream of their own, so that they depend on nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Occasion(enum.IntEnum):
    """What random numbers are drawn for; never 0."""

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


def generator(occasion: Occasion, seed: int, *numbers: int) -> np.random.Generator:
    """A generator of its own for an occasion and its non-negative numbers."""
    return np.random.default_rng(_root(occasion, seed, *numbers))


def seed_of(occasion: Occasion, seed: int, *numbers: int) -> int:
    """A seed for torch's generators, like `generator`."""
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
    """[B, K, T] float64 in [0, 1): one number per token of K samples of each input.

    Args:
        occasion: what they are drawn for.
        seed: root of all streams.
        inputs: B numbers that stand for the inputs, wherever they come in a batch.
        num_samples: K.
        num_tokens: T, the greatest length of an output.
        numbers: which of several such occasions it is.
    """
    shape = num_samples, num_tokens
    roots = [generator(occasion, seed, *numbers, number) for number in inputs]
    return torch.from_numpy(np.stack([root.random(shape) for root in roots]))


def _root(occasion: Occasion, seed: int, *numbers: int) -> np.random.SeedSequence:
    """The same for equal arguments alone.

    NumPy takes numbers apart into words of 32 bits and fills up with zeros, so that [1] is [1, 0],
    and [2**32] is [0, 1]. Here the occasion and the count come first, and each number has two
    words.
    """
    words = [word for number in (seed, *numbers) for word in divmod(number, 2**32)]
    return np.random.SeedSequence([occasion, len(numbers), *words])
