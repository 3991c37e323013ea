"""Products of float32 matrices on a CPU by oneDNN.

PyTorch's own are mostly MKL's, which use half the width of processors that are not Intel's: 100
GFLOPS against oneDNN's 220 on a core of an AMD EPYC with AVX-512, measured with the shapes of an
output layer. On a core of an Intel Xeon of the same width MKL's are the faster ones, gradients of
weights twice. The output layer of a language model is most of a small one's time.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.nn.functional import pad

_LEAST_SIZE = 2**20
"""Smallest number of weights of a layer whose products are oneDNN's: of a smaller one the time is
not in the products, and compiling a kernel would take longer."""


@functools.cache
def is_mkl_slow() -> bool:
    """Return whether PyTorch's own products are MKL's, and oneDNN's there and faster."""
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return has_both and "GenuineIntel" not in _processor()


def _processor() -> str:
    """Return what names the processor's vendor, among other things."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return platform.processor()


def is_by_onednn(states: Tensor, weight: Tensor) -> bool:
    """Return whether products of a layer's states and weight [V, H] are better made by oneDNN."""
    is_float = states.device.type == "cpu" and states.dtype == torch.float32
    return is_float and weight.numel() >= _LEAST_SIZE and is_mkl_slow()


def is_differentiated(*matrices: Tensor) -> bool:
    """Return whether what is computed of the matrices may need derivatives, of either mode."""
    return torch.is_grad_enabled() or any(
        unpack_dual(each).tangent is not None for each in matrices
    )


def product(left: Tensor, right: Tensor, *, by_onednn: bool) -> Tensor:
    """Return [M, N] left [M, K] times the transpose of right [N, K], without derivatives.

    Both may be views with any strides. No kernel of oneDNN's is ever freed, about 1 MiB for each
    shape, so that numbers which vary belong through `rounded_up`.
    """
    if not by_onednn:
        return left @ right.T
    # The operation that `torch.compile` makes of a linear layer; it is in every build with oneDNN.
    found: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    return found


def write_product(out: Tensor, left: Tensor, right: Tensor, *, by_onednn: bool) -> None:
    """Write `product` to ``out`` [M, N].

    Where ``out`` is larger than the processor's cache, copying a product there takes twice as long
    as the product.
    """
    if by_onednn or out.dtype != left.dtype:
        out.copy_(product(left, right, by_onednn=by_onednn))
    else:
        torch.mm(left, right.T, out=out)


def rounded_up(count: int) -> int:
    """Return the next of few numbers of rows: at most an eighth more, or a multiple of 8."""
    step = max(8, (1 << max(count - 1, 0).bit_length()) // 16)
    return max(1, -(-count // step)) * step


def with_rows(matrix: Tensor, count: int, fill: float = 0.0) -> Tensor:
    """Return [count, K] the matrix [M, K] with rows of ``fill`` below; itself if it has as many."""
    missing = count - len(matrix)
    return pad(matrix, (0, 0, 0, missing), value=fill) if missing else matrix
