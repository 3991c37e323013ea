"""What is measured beside the update: norms of parts of the gradient, rewards, their deviation.

For an objective that is a mean over inputs, the gradients of the two parts of a batch, weighted
by their share of it, add up to the update's gradient. So one pass over the changed inputs alone,
a tenth of the batch, gives both parts' gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sft_vs_rft.config import CHANGED, OTHERS

_CHUNK = 4096


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of ``tensors`` in one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def norm(vector: Tensor) -> Tensor:
    """L2 norm of a vector, exact to rounding.

    One float32 sum over millions of squares loses digits; a norm of chunks' norms does not.
    """
    whole = len(vector) // _CHUNK * _CHUNK
    chunks = torch.linalg.vector_norm(vector[:whole].view(-1, _CHUNK), dim=1)
    return torch.linalg.vector_norm(torch.cat([chunks, vector[whole:]]))


def others_gradient(update: Tensor, changed: Tensor, num_changed: int, num_inputs: int) -> Tensor:
    """Gradient of the other inputs' mean, from the update's and the changed inputs' means.

    Args:
        update: [P] gradient of the mean over all inputs.
        changed: [P] gradient of the mean over the changed ones.
        num_changed: m > 0.
        num_inputs: B > m.

    Returns:
        [P], (B update - m changed) / (B - m).
    """
    # The same as a line through both, in one pass over the memory.
    return torch.lerp(changed, update, num_inputs / (num_inputs - num_changed))


def part_means(values: dict[str, Tensor], num_changed: int) -> dict[str, Tensor]:
    """Means of per-input values over the changed inputs and over the others.

    Args:
        values: [B] by name; the changed inputs come first.
        num_changed: m.

    Returns:
        Scalars by ``"<name> <part>"``; a part without inputs is left out.
    """
    table = torch.stack(list(values.values()))  # [names, B]
    means = {}
    for part, rows in ((CHANGED, table[:, :num_changed]), (OTHERS, table[:, num_changed:])):
        if rows.shape[1]:
            names = [f"{name} {part}" for name in values]
            means |= dict(zip(names, rows.mean(1).unbind(), strict=True))
    return means


def norm_report(name_suffix: str, gradient: Tensor, params_norm: Tensor) -> dict[str, Tensor]:
    """The gradient's norm, absolute and relative to the weights'."""
    grad_norm = norm(gradient)
    return {
        f"grad norm{name_suffix}": grad_norm,
        f"normalized grad norm{name_suffix}": grad_norm / params_norm,
    }
