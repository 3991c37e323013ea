"""Which operations have the host wait for the device, and where in the project they happened."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PROJECT = Path(__file__).resolve().parents[2]
_PARTS = tuple(f"{PROJECT / name}/" for name in ("common", "grue", "sft_vs_rft"))
_OWN = tuple(str(Path(__file__).resolve().with_name(name)) for name in ("device.py", "waits.py"))
_TESTS = f"{PROJECT / 'tests'}/"

_aten = torch.ops.aten

WAITING = {
    "aten::_local_scalar_dense",  # item(), float(), bool(), int()
    "aten::nonzero", "aten::masked_select", "aten::equal", "aten::bincount", "aten::multinomial",
    "aten::_unique", "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive",
    "aten::unique_dim_consecutive", "aten::_linalg_eigh", "aten::_linalg_svd",
    "aten::_linalg_check_errors",
}  # fmt: skip
"""Operations whose result, its size or its validity the host looks at."""
INDEXING = {
    _aten.index.Tensor, _aten._unsafe_index.Tensor, _aten.index_put.default,
    _aten.index_put_.default, _aten._index_put_impl_.default, _aten._unsafe_index_put.default,
}  # fmt: skip
"""Operations with a list of indices, which may be tensors of the CPU or masks."""


def wait_of(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The wait for the device that an operation on its tensors brings, but for copies; or None."""
    name = op._schema.name
    if name in WAITING:
        return str(name.removeprefix("aten::"))
    if op is _aten.repeat_interleave.Tensor and kwargs.get("output_size") is None:
        return "repeat_interleave"
    if op in INDEXING and any(is_mask(i) and i.device.type != "cpu" for i in args[1]):
        return "boolean index"
    if name == "aten::isin" and all(isinstance(arg, Tensor) for arg in args[:2]):
        elements, tested = args[:2]
        if tested.numel() >= 10 * elements.numel() ** 0.145:  # then it sorts unique elements
            return "isin"
    return None


def is_mask(index: object) -> bool:
    """Whether an index chooses by flags, so that the host must know how many are set."""
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


class Waits:
    """What the host did with the device, counted."""

    def __init__(self) -> None:
        self.blocking: Counter[tuple[str, str]] = Counter()
        """Waits by place and kind."""
        self.copies = 0
        """Copies that the host does not wait for."""
        self.operations = 0
        """Operations on the device."""
        self.steps = 0
        """Units of work, where the run tells them."""

    def wait(self, kind: str) -> None:
        """Counts a wait at the place that is being executed."""
        self.blocking[place(), kind] += 1

    def as_json(self) -> dict[str, Any]:
        """Everything, as objects of JSON."""
        found = [
            {"place": where, "kind": kind, "count": count}
            for (where, kind), count in self.blocking.most_common()
        ]
        return {
            "waits": found,
            "copies": self.copies,
            "operations": self.operations,
            "steps": self.steps,
        }


def place() -> str:
    """The innermost line of the project that is being executed, or of its tests outside of it.

    ``grue/policy.py:12 encode``; what a library does counts where the project called it.
    """
    in_tests = None
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        if file.startswith(_PARTS):
            return _named(file, frame.f_lineno, code.co_name)
        if in_tests is None and file.startswith(_TESTS) and file not in _OWN:
            in_tests = _named(file, frame.f_lineno, code.co_name)
        frame = frame.f_back  # type: ignore[assignment]
    return in_tests or "elsewhere"


def _named(file: str, line: int, function: str) -> str:
    return f"{file.removeprefix(f'{PROJECT}/')}:{line} {function}"
