"""Gradient noise: variance of minibatch gradients and squared norm of their mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from common import distributed
from common.training.shape_checks import check_shape


def gradient_moments(
    losses: Iterable[Iterable[Tensor]], parameters: Sequence[nn.Parameter]
) -> dict[str, Tensor]:
    """Return the variance and squared mean of the losses' gradients, by metric name.

    For n independent losses with gradients g_i of mean g, the unbiased estimates are the trace of
    their covariance, (sum |g_i|^2 - n |g|^2) / (n - 1), and |g|^2 minus an n-th of it, which may be
    negative. Their ratio is the noise scale of McCandlish et al. (2018, arXiv 1812.06162) for these
    minibatches. No ``.grad`` is written. Memory holds one gradient at a time and the sum. With
    several ranks, each rank passes its shares of the losses.

    Args:
        losses: the parts of each loss, which add up to it: scalars, each with its own graph, of
            fixed parameters.
        parameters: gradients are taken with respect to them.

    Returns:
        ``grad_variance`` and ``grad_squared_mean``; nothing for fewer than two losses.
    """
    count, squares = 0, torch.zeros((), device=parameters[0].device)
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for parts in losses:
        grads = _gradients(parts, parameters)
        distributed.all_reduce_([grad for grad in grads if grad is not None])
        for place, grad in enumerate(grads):
            if grad is not None:
                squares = squares + grad.square().sum()
                total[place] += grad
        count += 1
    if count < 2:
        return {}
    squared_mean = torch.stack([part.square().sum() for part in total]).sum() / count**2
    variance = (squares - count * squared_mean) / (count - 1)
    return {"grad_variance": variance, "grad_squared_mean": squared_mean - variance / count}


def _gradients(parts: Iterable[Tensor], parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradients of a sum of scalars, one after the other; None for unused weights."""
    found: list[Tensor | None] = [None] * len(parameters)
    for part in parts:
        check_shape("losses", part, ())
        grads = torch.autograd.grad(part, parameters, allow_unused=True)
        found = [
            known if grad is None else grad if known is None else known + grad
            for known, grad in zip(found, grads, strict=True)
        ]
    return found
