"""A pretended GPU: tensors that say they are on it while the CPU holds and computes them.

Unlike those of the meta device they have numbers, so that whole runs can be made. Tensors of two
devices in one operation raise an error, as on a GPU, and what the host waits for is counted.
The device is registered for the whole process, which should do nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretended_gpu.waits import INDEXING, Waits, is_mask, place, wait_of

_aten = torch.ops.aten
_NAME = "pretended"
_COPIES = (_aten.copy_.default, _aten._copy_from.default)
_TAKE_SCALARS = ("_foreach_", "_fused_", "fill", "masked_fill", "index_fill", "index_put", "where")
"""Beginnings of operations that take a tensor of one number from the CPU, beside pointwise ones."""


class _Backend(backend_registration._DummyBackendModule):  # type: ignore[misc]
    """What torch asks of a device's module."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]

    def get_rng_state(self, device: object = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        torch.set_rng_state(state)

    def set_device(self, device: object) -> None:
        pass

    def synchronize(self, device: object = None) -> None:
        pass


backend_registration._setup_privateuseone_for_python_backend(_NAME, backend_module=_Backend())
torch.__future__.set_swap_module_params_on_conversion(True)  # tied weights of a module stay tied
DEVICE = torch.device(_NAME, 0)


class MixedDevices(RuntimeError):
    """An operation on tensors of the CPU and of the device."""


class DeviceTensor(Tensor):
    """A tensor that says it is on the device, around one of the CPU that holds its numbers."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor, requires_grad: bool = False) -> DeviceTensor:
        made: DeviceTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=DEVICE, requires_grad=requires_grad,
        )  # fmt: skip
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"DeviceTensor({self.held})"

    def __deepcopy__(self, memo: dict[int, Any]) -> DeviceTensor:
        made = type(self)(copy.deepcopy(self.held, memo), self.requires_grad)
        if hasattr(self, "_is_param"):
            made._is_param = True
        memo[id(self)] = made
        return made

    def untyped_storage(self) -> torch.UntypedStorage:
        """That of the numbers: tensors that share it share it on the device."""
        return self.held.untyped_storage()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As a tensor of the CPU: what a file holds is loaded there first."""
        if (gpu := _in_use()) is not None:
            gpu.waits.wait("copy to the host")
        return self.held.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(op, args, kwargs or {}, Waits())


_gpus: list[PretendedGpu] = []


def _in_use() -> PretendedGpu | None:
    return _gpus[-1] if _gpus else None


class PretendedGpu(TorchDispatchMode):
    """Inside the block ``DEVICE`` can be used; what the host did with it stands in ``waits``."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = Waits()
        self._functions = _Functions()

    def __enter__(self) -> PretendedGpu:
        self._functions.__enter__()
        super().__enter__()
        _gpus.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _gpus.pop()
        super().__exit__(*error)
        self._functions.__exit__(*error)

    @contextmanager
    def counting(self) -> Iterator[Waits]:
        """Counts what happens inside the block alone."""
        before, self.waits = self.waits, Waits()
        try:
            yield self.waits
        finally:
            self.waits = before

    def __torch_dispatch__(self, op: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        if op is _aten._pin_memory.default:
            return args[0].clone()  # the CPU's memory is as good as pinned
        return _computed(op, args, kwargs or {}, self.waits)


def _is_named(device: Any) -> bool:
    return device is not None and torch.device(device).type == _NAME


def _computed(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], waits: Waits) -> Any:
    """The result of an operation with tensors on the device, or one that makes some there."""
    named = kwargs.get("device")
    tensors = list(_tensors((*args, *kwargs.values())))
    ours = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    if not ours and not _is_named(named):
        return op(*args, **kwargs)
    others = [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)]
    stays = bool(ours) if named is None else _is_named(named)  # whether the result is there
    waits.operations += 1
    if op in _COPIES:
        stays = isinstance(args[0], DeviceTensor)
        _copying(op, args, kwargs, stays, waits, crosses=bool(ours and others))
    elif op is _aten._to_copy.default:
        _copying(op, args, kwargs, stays, waits, crosses=stays != bool(ours))
    elif ours:
        _check_devices(op, args, others, waits)
        if (kind := wait_of(op, args, kwargs)) is not None:
            waits.wait(kind)
    plain = dict(kwargs)
    if named is not None:
        plain["device"] = torch.device("cpu")
        plain.pop("pin_memory", None)
    result = op(*_mapped(_held, args), **{key: _mapped(_held, each) for key, each in plain.items()})
    for tensor in ours:
        assert tensor.shape == tensor.held.shape, f"{op} changes a shape in place"
    if not stays or op is _aten._local_scalar_dense.default:
        return result
    known = {id(tensor.held): tensor for tensor in ours}  # operations in place return their own

    def placed(made: Any) -> Any:
        if not isinstance(made, Tensor):
            return made
        return known[id(made)] if id(made) in known else DeviceTensor(made)

    return _mapped(placed, result)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments, and in lists of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """What a function makes of a value, or of each in a list."""
    if isinstance(value, (list, tuple)):
        return type(value)([_mapped(function, each) for each in value])
    return function(value)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, DeviceTensor) else value


def _copying(
    op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], to_device: bool, waits: Waits, *,
    crosses: bool,
) -> None:  # fmt: skip
    """Counts a copy between host and device."""
    if not crosses or not args[0].numel():
        return
    if op in _COPIES:
        goes_on = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        if to_device and not args[1].dim():
            return  # a number goes along with the operation
    else:
        goes_on = kwargs.get("non_blocking", False)
    if goes_on:
        waits.copies += 1
    else:
        waits.wait("copy to the device" if to_device else "copy to the host")


def _check_devices(op: Any, args: tuple[Any, ...], others: list[Tensor], waits: Waits) -> None:
    """Refuses tensors of the CPU beside those of the device, but for numbers and indices.

    Raises:
        MixedDevices: with the operation and its place.
    """
    if not others:
        return
    indices: list[Any] = [i for i in args[1] if isinstance(i, Tensor)] if op in INDEXING else []
    if any(not isinstance(index, DeviceTensor) for index in indices):
        waits.wait("copy to the device")
    name = op._schema.name.removeprefix("aten::")
    takes_scalars = torch.Tag.pointwise in op.tags or name.startswith(_TAKE_SCALARS)
    refused = [
        tensor for tensor in others
        if not any(tensor is index for index in indices)
        and (tensor.dim() or not takes_scalars)
    ]  # fmt: skip
    if op in INDEXING and not isinstance(args[0], DeviceTensor):
        refused = [args[0]]
    for argument, value in zip(op._schema.arguments, args, strict=False):
        written = argument.alias_info is not None and argument.alias_info.is_write
        if written and isinstance(value, Tensor) and not isinstance(value, DeviceTensor):
            refused.append(value)
    if refused:
        shapes = [tuple(tensor.shape) for tensor in refused]
        raise MixedDevices(f"{name} at {place()}: on {DEVICE}, and of shape {shapes} on the cpu")


class _Functions(TorchFunctionMode):
    """Functions of torch that do not reach the device's operations by themselves."""

    def __torch_function__(
        self, function: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if not isinstance(first, DeviceTensor):
            makes = function in (torch.tensor, torch.as_tensor)
            if makes and _is_named(device := kwargs.get("device")):
                return function(*args, **{**kwargs, "device": "cpu"}).to(device)
            return function(*args, **kwargs)
        if function is torch.nn.functional.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        if function is Tensor.new_tensor:
            made = torch.tensor(args[1], dtype=kwargs.get("dtype") or first.dtype)
            return made.to(kwargs.get("device") or first.device)
        if function is Tensor.tolist:
            return first.to("cpu").tolist()
        if function is Tensor.__setitem__ and is_mask(args[1]) and not isinstance(args[2], Tensor):
            mask = args[1].reshape(args[1].shape + (1,) * (first.dim() - args[1].dim()))
            first.masked_fill_(mask, args[2])  # as a GPU does: the host need not know how many
            return None
        return function(*args, **kwargs)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, **kwargs: Any,
) -> Tensor:  # fmt: skip
    """Scaled dot-product attention by plain operations; the device has no kernel of one."""
    attended: Tensor = _aten._scaled_dot_product_attention_math(
        query, key, value, attn_mask, dropout_p, is_causal, **kwargs
    )[0]
    return attended
