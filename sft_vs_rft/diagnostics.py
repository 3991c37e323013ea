"""What is measured beside the update: norms of parts of the gradient, means over parts."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sft_vs_rft.config import CHANGED, OTHERS

_CHUNK = 4096


def couples_inputs(model: nn.Module) -> bool:
    """Whether an input's output depends on the others, or on a draw, in training mode.

    Such a model sees a batch in one pass: a second one would move its state or draw again.
    """
    normalises = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    return normalises or any(
        isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in model.modules()
    )


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """A copy of all numbers of ``tensors`` in one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def norm(vector: Tensor) -> Tensor:
    """L2 norm of a vector, exact to rounding.

    One float32 sum over millions of squares loses digits; a norm of chunks' norms does not.
    """
    whole = len(vector) // _CHUNK * _CHUNK
    chunks = torch.linalg.vector_norm(vector[:whole].view(-1, _CHUNK), dim=1)
    return torch.linalg.vector_norm(torch.cat([chunks, vector[whole:]]))


def gradient_norms(
    update: Tensor, changed: Tensor | None, num_changed: int, num_inputs: int
) -> dict[str, Tensor]:
    """Norms of the update's gradient and of the gradients of its two parts.

    For an objective that is a mean over inputs, the parts' gradients, weighted by their share of
    the batch, add up to the update's.

    Args:
        update: [P] gradient of the mean over all inputs.
        changed: [P] what the changed inputs contribute to ``update``; None where there are none.
        num_changed: m, the number of changed inputs.
        num_inputs: B.

    Returns:
        Scalars by ``"grad norm"`` and ``"grad norm <part>"``, each the norm of the gradient of the
        mean over its own inputs; a part without inputs is left out.
    """
    norms = {"grad norm": norm(update)}
    if changed is not None:
        norms[f"grad norm {CHANGED}"] = norm(changed) * (num_inputs / num_changed)
        if num_changed < num_inputs:
            others = norm(update - changed) * (num_inputs / (num_inputs - num_changed))
            norms[f"grad norm {OTHERS}"] = others
    return norms


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
