"""Random order of inputs in an epoch, as torch's ``DataLoader(shuffle=True)`` draws it."""

from __future__ import annotations

import torch
from torch import Tensor


def pass_over_loader() -> None:
    """Draw the number that a ``DataLoader`` draws from the global generator each time it starts."""
    torch.empty((), dtype=torch.int64).random_()


def shuffled(num_inputs: int) -> Tensor:
    """Return a random order of the inputs, the same as that of a shuffling ``DataLoader``.

    As the loader starts, its sampler draws the seed of a generator of its own.

    Returns:
        [num_inputs] int64, on the CPU.
    """
    pass_over_loader()
    seed = int(torch.empty((), dtype=torch.int64).random_().item())
    return torch.randperm(num_inputs, generator=torch.Generator().manual_seed(seed))
