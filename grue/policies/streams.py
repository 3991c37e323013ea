"""Each input's own stream of uniforms, so that its samples depend on nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def uniforms(
    seed: int,
    inputs: Sequence[int],
    num_samples: int,
    num_tokens: int,
    *,
    stream: Sequence[int] = (),
) -> Tensor:
    """[B, K, T] float64 in [0, 1): one number per token of K samples of each input.

    Args:
        seed: root of all streams.
        inputs: B numbers that stand for the inputs, wherever they come in a batch.
        num_samples: K.
        num_tokens: T, the greatest length of an output.
        stream: numbers that stand for the occasion, where the same inputs are drawn for again.
    """
    shape = num_samples, num_tokens
    roots = [np.random.default_rng([seed, *stream, number]) for number in inputs]
    return torch.from_numpy(np.stack([root.random(shape) for root in roots]))


def seed_of(*numbers: int) -> int:
    """A seed for torch's generators that follows from non-negative numbers and mixes them well."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
