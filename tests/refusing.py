"""A stand-in for a GPU that is asked for deterministic algorithms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

_REFUSED = {
    "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward", "avg_pool3d_backward",
    "fractional_max_pool2d_backward", "fractional_max_pool3d_backward",
    "max_pool3d_with_indices_backward", "max_unpool2d", "max_unpool3d",
    "upsample_linear1d_backward", "upsample_bilinear2d_backward", "upsample_bicubic2d_backward",
    "upsample_trilinear3d_backward", "reflection_pad1d_backward", "reflection_pad2d_backward",
    "reflection_pad3d_backward", "grid_sampler_2d_backward", "_ctc_loss_backward", "put_", "histc",
}  # fmt: skip
"""Operations, by torch's inner names, that its documentation of ``use_deterministic_algorithms``
lists as ones that raise on a GPU."""
_REFUSED_WITH: dict[str, Callable[[tuple[Any, ...]], bool]] = {
    "nll_loss2d_forward": lambda args: args[3] != 0,  # a mean or sum
    "bincount": lambda args: len(args) > 1 and args[1] is not None,
    "median": lambda args: len(args) > 1,
    "scatter_reduce": lambda args: args[4] == "prod",
}
"""Others raise with some arguments only."""


class RefusingGpu(TorchDispatchMode):
    """Inside the block torch refuses on the CPU what it would refuse on such a GPU."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in _REFUSED or (name in _REFUSED_WITH and _REFUSED_WITH[name](args)):
            raise RuntimeError(
                f"{name}_cuda does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True)'. You can turn off determinism"
            )
        return func(*args, **(kwargs or {}))
