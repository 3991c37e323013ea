"""What is measured beside the update: norms of parts of the gradient, means over parts."""

from __future__ import annotations

from collections.abc import Sequence

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


def norms(rows: Tensor) -> Tensor:
    """L2 norms of vectors, exact to rounding.

    One float32 sum over millions of squares loses digits; a norm of chunks' norms does not.

    Args:
        rows: [n, P].

    Returns:
        [n].
    """
    whole = rows.shape[1] // _CHUNK * _CHUNK
    chunks = torch.linalg.vector_norm(rows[:, :whole].unflatten(1, (-1, _CHUNK)), dim=2)
    return torch.linalg.vector_norm(torch.cat([chunks, rows[:, whole:]], dim=1), dim=1)


class GradientNorms:
    """Norms of the weights, of the update's gradient, and of the gradients of its two parts.

    For an objective that is a mean over inputs, the parts' gradients, weighted by their share of
    the batch, add up to the update's. The numbers are gathered in memory that is kept from step to
    step, because getting new memory for them costs more than the norms do.
    """

    def __init__(self, params: Sequence[Tensor]) -> None:
        """``params``: the weights, P numbers in all."""
        self.params = params
        size = sum(param.numel() for param in params)
        self._table = params[0].new_empty(3, size)  # weights, update, what changed inputs add

    def note_changed(self, gradients: Sequence[Tensor]) -> None:
        """Keeps what the changed inputs contribute to the update, given like ``params``."""
        self._gather(gradients, 2)

    def report(
        self, update: Sequence[Tensor], num_changed: int, num_inputs: int
    ) -> dict[str, Tensor]:
        """The norms, before the update.

        Args:
            update: gradient of the mean over all inputs, like ``params``.
            num_changed: m, the number of changed inputs; where it is not 0, `note_changed` has
                been called for them.
            num_inputs: B.

        Returns:
            ``"params_norm"``, ``"grad norm"`` and ``"grad norm <part>"``, the gradients' also
            relative to the weights' as ``"normalized ..."``. A part's is the norm of the gradient
            of the mean over its own inputs; a part without inputs is left out.
        """
        self._gather([param.detach() for param in self.params], 0)
        self._gather(update, 1)
        params_norm, *found = norms(self._table[: 3 if num_changed else 2]).unbind()
        absolute = {"grad norm": found[0]}
        if num_changed:
            absolute[f"grad norm {CHANGED}"] = found[1] * (num_inputs / num_changed)
            if num_changed < num_inputs:
                others = norms(torch.sub(*self._table[1:], out=self._table[2])[None])[0]
                scale = num_inputs / (num_inputs - num_changed)
                absolute[f"grad norm {OTHERS}"] = others * scale
        relative = {f"normalized {name}": value / params_norm for name, value in absolute.items()}
        return {"params_norm": params_norm} | absolute | relative

    def _gather(self, tensors: Sequence[Tensor], row: int) -> None:
        torch.cat([tensor.reshape(-1) for tensor in tensors], out=self._table[row])


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
