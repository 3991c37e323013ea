"""Memory trace of a computation, made with tensors that have no numbers.

On the meta device every operation, autograd included, returns a tensor of the right shape and type
at once. The living tensors are those that would live on a GPU. Workspaces of kernels and gaps
between memory blocks are not counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

_BLOCK = 512
"""Bytes of a block: torch's allocator of GPU memory gives whole blocks."""


class MemoryTrace(TorchDispatchMode):
    """Counter of the bytes of tensors that were made inside the block and are still used.

    Values that the host reads from meta tensors, such as whether a mask hides anything, are false,
    or zero.
    """

    def __init__(self, block: int = 1) -> None:
        """Count each tensor as a multiple of ``block`` bytes."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch's has no types
        self._block = block
        self.peak = 0
        """Largest number of bytes so far."""
        self._bytes = 0
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}
        self._given: dict[int, torch.UntypedStorage] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors([args, list((kwargs or {}).values())]):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._made:
                self._given.setdefault(storage._cdata, storage)
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return torch.zeros((), dtype=args[0].dtype).item()
        found = func(*args, **(kwargs or {}))
        for tensor in _tensors(found):
            self._count(tensor.untyped_storage())
        return found

    def live(self) -> int:
        """Return the bytes in use now."""
        gone = [key for key, (made, _) in self._made.items() if made.expired()]
        for key in gone:
            self._bytes -= self._made.pop(key)[1]
        return self._bytes

    def _count(self, storage: torch.UntypedStorage) -> None:
        key: int = storage._cdata  # unique as long as a weak reference is kept
        if key in self._given or key in self._made:
            return
        size = -(-storage.nbytes() // self._block) * self._block
        self._made[key] = _reference(storage), size
        self._bytes += size
        if self._bytes > self.peak:  # with what is no longer used; only now it pays to look
            self.peak = max(self.peak, self.live())


@contextlib.contextmanager
def gpu_attention() -> Iterator[None]:
    """Compute attention of meta tensors inside the block without a matrix of probabilities.

    GPUs compute it so: with a mask, ``scaled_dot_product_attention`` uses this kernel there, and
    others on the CPU and on the meta device.
    """
    functions: Any = nn.functional
    usual = functions.scaled_dot_product_attention

    def attention(query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        found: Tensor = (_memory_efficient if query.is_meta else usual)(query, *args, **kwargs)
        return found

    functions.scaled_dot_product_attention = attention  # a mode would not reach recomputations
    try:
        yield
    finally:
        functions.scaled_dot_product_attention = usual


def _reference(storage: torch.UntypedStorage) -> StorageWeakRef:
    return StorageWeakRef(storage)


def _memory_efficient(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    if enable_gqa:
        times = query.shape[1] // key.shape[1]
        key, value = (each.repeat_interleave(times, 1) for each in (key, value))
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype)
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
    kept = torch.is_grad_enabled()
    found: Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, kept, dropout_p, is_causal, scale=scale
    )[0]
    return found


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[MemoryTrace]:
    """Count, inside the block, the bytes that meta tensors would take on a GPU."""
    with gpu_attention(), MemoryTrace(_BLOCK) as trace:
        yield trace


def held(*modules: nn.Module) -> int:
    """Return the bytes of the modules' weights and buffers; shared ones are counted once."""
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for module in modules
        for tensor in [*module.parameters(), *module.buffers()]
    }
    return sum(storages.values())


def state_of(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of an optimiser's state after a step."""
    return sum(
        value.untyped_storage().nbytes()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    )


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
