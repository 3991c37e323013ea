"""Pickles of arrays and plain containers, read without running code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError


def read(path: Path) -> dict[Any, Any]:
    """Return the dictionary in a pickle of Python 2 or 3; Python 2 strings become bytes.

    Raises:
        UserError: the file is missing or damaged, or has an object that is no array or container.
    """
    try:
        with path.open("rb") as file:
            content = _unwrapped(_PlainUnpickler(file, encoding="bytes").load())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # what chance bytes make of an unpickler may be any
        raise UserError(f"{path}: not a pickle of plain arrays, refused: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a dictionary of arrays, found a {type(content)}")
    return content


class _Dtype:
    """Stand-in for `numpy.dtype`, whose own reading of a damaged state may end the process."""

    def __init__(self, kind: str | bytes, *_: object) -> None:
        self.dtype = np.dtype(kind.decode() if isinstance(kind, bytes) else kind)
        if self.dtype.kind not in "uif":
            raise pickle.UnpicklingError(f"it holds an array of {self.dtype}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, *_ = state
        if isinstance(order, bytes):  # written by Python 2
            order = order.decode()
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stand-in for an array, for the same reason."""

    values: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, content = state
        flat = np.frombuffer(content, kind.dtype)
        self.values = flat.reshape(shape, order="F" if by_columns else "C").copy()


def _unwrapped(value: Any) -> Any:
    """Return ``value`` with real arrays instead of stand-ins."""
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, dict):
        return {key: _unwrapped(part) for key, part in value.items()}
    return value


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy", "ndarray"): np.ndarray,  # named, and never called
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),  # Python 3's bytes, protocol 2
}


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler that refuses every object that is not on its list."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for the object of this name."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it holds a {module}.{name}")
        return _ADMITTED[module, name]
