"""PyTorch's optimizers without the compiler, whose import costs as much as torch's own.

PyTorch's methods import ``torch._dynamo``, and sympy with it, to tell the compiler what it must not
trace. In training that is not compiled this has no effect, so the classes here have the methods
below those wrappers. Numbers, states and hooks are PyTorch's.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeVar

import torch

OptimizerT = TypeVar("OptimizerT", bound=torch.optim.Optimizer)
_UNTRACED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
"""Methods that are wrapped for no other reason than to keep the compiler out."""


def _eager(optimizer: type[OptimizerT]) -> type[OptimizerT]:
    """Give an optimizer's class the methods that do not import the compiler; return it."""
    for name in _UNTRACED:
        setattr(optimizer, name, inspect.unwrap(getattr(optimizer, name)))
    step = inspect.unwrap(optimizer.step)

    @functools.wraps(step)
    def eager_step(self: OptimizerT, *args: Any, **options: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *args, **options)

    setattr(optimizer, "step", eager_step)  # noqa: B010  torch has one type with a closure, one without
    return optimizer


@_eager
class SGD(torch.optim.SGD):
    """`torch.optim.SGD` without the compiler."""


@_eager
class Adam(torch.optim.Adam):
    """`torch.optim.Adam` without the compiler."""


@_eager
class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW` without the compiler."""


@_eager
class RMSprop(torch.optim.RMSprop):
    """`torch.optim.RMSprop` without the compiler."""
