"""Mixed precision on the pretended GPU: which operations compute in the narrow type, which never.

`torch.autocast` knows a device whose operations are registered; those here are the ones of CUDA's
lists that text models and their losses use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.library import Library, fallthrough_kernel
from torch.utils._pytree import tree_map

from tests.pretended_gpu.device import DEVICE

_KEY = "AutocastPrivateUse1"
_NARROW = ("addmm", "baddbmm", "bmm", "linear", "matmul", "mm")
_WIDE = ("cross_entropy_loss", "cumsum", "exp", "layer_norm", "log", "log_softmax.int", "nll_loss",
         "softmax.int", "sum", "sum.dim_IntList")  # fmt: skip


def register() -> tuple[Library, Library]:
    """Lets autocast work on the device for as long as the result is kept."""
    others, ours = Library("_", "IMPL"), Library("aten", "IMPL")
    others.fallback(fallthrough_kernel, _KEY)
    for names, dtype in ((_NARROW, None), (_WIDE, torch.float32)):
        for name in names:
            packet, _, overload = name.partition(".")
            operation = getattr(getattr(torch.ops.aten, packet), overload or "default")
            ours.impl(operation, _computing_in(dtype, operation), _KEY)
    return others, ours


def _computing_in(dtype: torch.dtype | None, operation: Any) -> Callable[..., Any]:
    """The operation on tensors of a type; None for autocast's."""

    def computed(*args: Any, **kwargs: Any) -> Any:
        cast = partial(_cast, dtype or torch.get_autocast_dtype(DEVICE.type))
        args, kwargs = tree_map(cast, (args, kwargs))
        with torch.autocast(DEVICE.type, enabled=False):
            return operation(*args, **kwargs)

    return computed


def _cast(dtype: torch.dtype, value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64:
        return value.to(dtype)
    return value
