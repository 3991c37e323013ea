"""The pools of inputs that runs draw their subsets from, one loader per data set."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError

_NUM_DIGITS_TRAIN = 1297
_DIGITS_MEAN, _DIGITS_STD = 0.3053, 0.3760
_NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_NPZ_MASK = "changed_train"


@dataclass(frozen=True)
class Pool:
    """All inputs of a data set, not yet normalised."""

    train_inputs: Tensor  # [N, ...]
    train_labels: Tensor  # [N] int64
    test_inputs: Tensor  # [M, ...]
    test_labels: Tensor  # [M] int64
    num_classes: int
    normalise: Callable[[Tensor], Tensor]
    """Gives float32 inputs, shaped [n, ...] as the models take them."""
    changed_train: Tensor | None = None  # [N] bool
    """Which training labels the data set itself declares as changed."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one normalised input."""
        return tuple(self.normalise(self.train_inputs[:1]).shape[1:])


def load_pool(dataset: str, data_dir: str, data_path: str | None) -> Pool:
    """The pool of ``dataset``; what is absent is downloaded to ``data_dir``.

    Raises:
        UserError: it is neither there nor to be had, or a file does not hold what it should.
    """
    if dataset == "digits":
        return _digits()
    if dataset == "npz":
        assert data_path is not None
        return _npz(Path(data_path))
    return _IDX[dataset](data_dir)


def _digits() -> Pool:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    inputs = torch.from_numpy(images.astype(np.float32)).view(-1, 1, 8, 8)
    targets = torch.from_numpy(labels)
    return Pool(
        inputs[:_NUM_DIGITS_TRAIN],
        targets[:_NUM_DIGITS_TRAIN],
        inputs[_NUM_DIGITS_TRAIN:],
        targets[_NUM_DIGITS_TRAIN:],
        num_classes=10,
        normalise=lambda x: (x / 16 - _DIGITS_MEAN) / _DIGITS_STD,
    )


def _idx(name: str, mean: float, std: float) -> Callable[[str], Pool]:
    """A loader of one of torchvision's data sets in MNIST's format."""

    def load(data_dir: str) -> Pool:
        import torchvision.datasets

        dataset = getattr(torchvision.datasets, name)
        try:
            train = dataset(data_dir, train=True, download=True)
            test = dataset(data_dir, train=False, download=True)
        except Exception as error:  # torchvision raises what its downloader does
            raw = Path(data_dir) / name / "raw"
            _remove_empty(raw, raw.parent, Path(data_dir))
            why = " ".join(str(error).split())
            raise UserError(
                f"{name} is not in {raw} and cannot be downloaded ({why}); put the four unpacked "
                "IDX files there, or set 'data_dir' to a folder that has them"
            ) from error
        return Pool(
            train.data,
            train.targets,
            test.data,
            test.targets,
            num_classes=10,
            normalise=lambda x: (x[:, None].float() / 255 - mean) / std,
        )

    return load


def _remove_empty(*folders: Path) -> None:
    """Removes folders that a failed download has left empty."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


_IDX = {"mnist": _idx("MNIST", 0.1307, 0.3081), "fmnist": _idx("FashionMNIST", 0.286, 0.353)}


def _npz(path: Path) -> Pool:
    """The user's own arrays: bytes are scaled to [0, 1], other numbers are taken as they are."""
    arrays = _read_npz(path)
    train_labels, test_labels = (_labels(arrays, f"y_{part}") for part in ("train", "test"))
    for part, labels in (("train", train_labels), ("test", test_labels)):
        if len(arrays[f"x_{part}"]) != len(labels):
            raise UserError(
                f"x_{part} has {len(arrays[f'x_{part}'])} inputs, y_{part} {len(labels)} labels"
            )
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        raise UserError(
            f"x_train has inputs of shape {list(arrays['x_train'].shape[1:])}, x_test of "
            f"{list(arrays['x_test'].shape[1:])}"
        )
    mask = arrays.get(_NPZ_MASK)
    if mask is not None and (mask.dtype != bool or mask.shape != (len(train_labels),)):
        raise UserError(f"{_NPZ_MASK} must be a bool array with one entry per training input")
    scale = 255.0 if arrays["x_train"].dtype == np.uint8 else 1.0
    return Pool(
        torch.from_numpy(arrays["x_train"]),
        train_labels,
        torch.from_numpy(arrays["x_test"]),
        test_labels,
        num_classes=int(torch.cat([train_labels, test_labels]).max()) + 1,
        normalise=lambda x: x.float() / scale,
        changed_train=None if mask is None else torch.from_numpy(mask),
    )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*_NPZ_ARRAYS, _NPZ_MASK) if name in file}
            found = ", ".join(file.files) or "none"
    except FileNotFoundError:
        raise UserError("no such file") from None
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"not an npz file of plain arrays ({error}); write it with numpy.savez"
        ) from None
    missing = [name for name in _NPZ_ARRAYS if name not in arrays]
    if missing:
        raise UserError(f"lacks the arrays {', '.join(missing)}; found: {found}")
    for name in ("x_train", "x_test"):
        if arrays[name].dtype.kind not in "uif" or arrays[name].ndim < 2:
            raise UserError(f"{name} must hold numbers, shaped [inputs, ...]")
        if arrays[name].dtype.kind == "f" and not np.isfinite(arrays[name]).all():
            raise UserError(f"{name} holds NaN or infinite values")
    return arrays


def _labels(arrays: dict[str, np.ndarray], name: str) -> Tensor:
    labels = arrays[name]
    if labels.dtype.kind not in "ui" or labels.ndim != 1 or not labels.size or labels.min() < 0:
        raise UserError(f"{name} must hold whole numbers from 0, one per input")
    return torch.from_numpy(labels.astype(np.int64))
