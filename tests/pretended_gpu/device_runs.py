"""What shows that the pretended GPU refuses and counts as a GPU would."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tests.pretended_gpu.device import DEVICE, PretendedGpu
from tests.pretended_gpu.waits import Waits

Kind = Callable[[PretendedGpu, Path], dict[str, Waits]]


def item(values: Tensor) -> None:
    values.sum().item()


def boolean_index(values: Tensor) -> None:
    values[values > 1]


def index_of_the_host(values: Tensor) -> None:
    values[torch.tensor([0, 2])]


def mask_of_the_host(values: Tensor) -> None:
    values[torch.tensor([True, False, True])]


def blocking_copy(values: Tensor) -> None:
    torch.ones(3).to(values.device)


def nonzero(values: Tensor) -> None:
    (values > 1).nonzero()


def repeats(values: Tensor) -> None:
    values.repeat_interleave(values.long())


def unique(values: Tensor) -> None:
    values.unique()


def to_the_host(values: Tensor) -> None:
    values.cpu()


def tolist(values: Tensor) -> None:
    values.tolist()


def backward(values: Tensor) -> None:
    leaf = values.clone().requires_grad_()
    chosen = _Chosen.apply(leaf)
    chosen.sum().backward()


class _Chosen(torch.autograd.Function):
    """What has the backward pass wait alone."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        return values * 2

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        torch.masked_select(gradient, gradient > 0)
        return gradient


def async_copy(values: Tensor) -> None:
    torch.ones(3).to(values.device, non_blocking=True)


def pinned_copy(values: Tensor) -> None:
    torch.ones(3).pin_memory().to(values.device, non_blocking=True)


def nothing_copied(values: Tensor) -> None:
    torch.tensor([], device=values.device)


def mask_filled(values: Tensor) -> None:
    values[values > 1] = 0.0
    values.masked_fill_(values > 1, 0.0)


def index(values: Tensor) -> None:
    values[values.long() % 2]


def one_number(values: Tensor) -> None:
    values * torch.tensor(2.0)


def known(values: Tensor) -> None:
    values.repeat_interleave(2)
    values.split([1, 2])
    values.clone().to(values.device)


_WAITS = (item, boolean_index, index_of_the_host, mask_of_the_host, blocking_copy, nonzero, repeats,
          unique, to_the_host, tolist, backward)  # fmt: skip
_NO_WAITS = (async_copy, pinned_copy, nothing_copied, mask_filled, index, one_number, known)


def _counted(
    functions: tuple[Callable[[Tensor], None], ...], gpu: PretendedGpu, folder: Path
) -> dict[str, Waits]:
    found = {}
    for function in functions:
        values = torch.arange(1.0, 4.0).to(DEVICE)
        with gpu.counting() as found[function.__name__.replace("_", " ")]:
            function(values)
    return found


def _mixed(function: Callable[[Tensor], None], gpu: PretendedGpu, folder: Path) -> dict[str, Waits]:
    function(torch.ones(3).to(DEVICE))
    return {}


def _written(values: Tensor) -> None:
    torch.ones(()).add_(values.sum())


def _narrow(gpu: PretendedGpu, folder: Path) -> dict[str, Waits]:
    """Products are narrow under autocast, sums over a distribution are not; gradients are wide."""
    weights = torch.ones(3, 3).to(DEVICE).requires_grad_()
    with gpu.counting() as waits, torch.autocast(DEVICE.type, torch.bfloat16):
        product = torch.nn.functional.linear(torch.ones(2, 3).to(DEVICE), weights)
        log_probs = product.log_softmax(-1)
    log_probs.sum().backward()
    assert product.dtype == torch.bfloat16
    assert log_probs.dtype == torch.float32
    assert weights.grad is not None and weights.grad.dtype == torch.float32
    return {"pass": waits}


KINDS: dict[str, Kind] = {
    "device: waits": partial(_counted, _WAITS),
    "device: no waits": partial(_counted, _NO_WAITS),
    "device: narrow": _narrow,
    "device: mixed": partial(_mixed, lambda values: values + torch.ones(3)),
    "device: mixed, written": partial(_mixed, _written),
    "device: mixed, one number": partial(
        _mixed, lambda values: torch.stack([values.sum(), torch.ones(())])
    ),
}
