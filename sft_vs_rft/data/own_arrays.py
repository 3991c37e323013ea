"""Users' own arrays, in a file saved by NumPy."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from sft_vs_rft.data.pools import Pool, dense_pool

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_MASK = "changed_train"
_MOST_CLASSES = 10_000  # label sets are drawn from a table of classes times classes


def npz_pool(path: Path) -> Pool:
    """Return the pool in ``path``; bytes are scaled to [0, 1], other numbers stay unchanged.

    Raises:
        UserError: the file lacks arrays, or they have wrong shapes, types or values.
    """
    arrays = _read(path)
    train_labels, test_labels = (_labels(arrays, f"y_{part}") for part in ("train", "test"))
    num_classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    if num_classes < 2:
        raise UserError("all labels are 0, so that there is nothing to learn; two classes or more "
                        "are needed")  # fmt: skip
    mask = arrays.get(_MASK)
    if mask is not None and (mask.dtype != bool or mask.shape != (len(train_labels),)):
        raise UserError(f"{_MASK} must be a bool array with one entry per training input")
    return dense_pool(
        torch.from_numpy(arrays["x_train"]),
        train_labels,
        torch.from_numpy(arrays["x_test"]),
        test_labels,
        num_classes=num_classes,
        normalise=lambda x: x.float() / (255.0 if x.dtype == torch.uint8 else 1.0),
        changed_train=None if mask is None else torch.from_numpy(mask),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.is_file() and not zipfile.is_zipfile(path):
        raise UserError("not an npz file; write it with numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*_ARRAYS, _MASK) if name in file}
            found = ", ".join(file.files) or "none"
    except FileNotFoundError:
        raise UserError("no such file") from None
    except Exception as error:  # what damaged archives raise is many things
        raise UserError(
            f"not an npz file of plain arrays ({error}); write it with numpy.savez"
        ) from None
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise UserError(f"lacks the arrays {', '.join(missing)}; found: {found}")
    for name in ("x_train", "x_test"):
        given = arrays[name]
        if given.dtype.kind not in "uif" or given.ndim < 2 or 0 in given.shape[1:]:
            raise UserError(f"{name} must hold numbers, shaped [inputs, ...]")
        if given.dtype.kind == "f" and not _finite_in_float32(given):
            raise UserError(f"{name} holds NaN, infinite values, or some beyond float32")
        arrays[name] = _as_torch_has_it(given)
    return arrays


def _finite_in_float32(array: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.isfinite(array.astype(np.float32, copy=False)).all())


def _as_torch_has_it(array: np.ndarray) -> np.ndarray:
    """Return the numbers in this machine's byte order and a type that torch supports."""
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        return array.astype(np.int64)
    if array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _labels(arrays: dict[str, np.ndarray], name: str) -> Tensor:
    labels = arrays[name]
    if labels.dtype.kind not in "ui" or labels.ndim != 1 or not labels.size or labels.min() < 0:
        raise UserError(f"{name} must hold whole numbers from 0, one per input")
    if labels.max() >= _MOST_CLASSES:
        raise UserError(
            f"{name} holds {labels.max()}, but labels are numbers of classes, counted from 0, and "
            f"at most {_MOST_CLASSES} are admitted"
        )
    return torch.from_numpy(labels.astype(np.int64))
