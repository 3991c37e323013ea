"""Image data sets, normalised per channel as published; no augmentation."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from sft_vs_rft.data import plain_pickle
from sft_vs_rft.data.pools import Pool, dense_pool
from sft_vs_rft.data_sets import DIGITS_SIZES

_DIGITS_MEAN, _DIGITS_STD = 0.3053, 0.3760

CIFAR10_FOLDER, CIFAR100_FOLDER = "cifar-10-batches-py", "cifar-100-python"


def _digits(data_dir: str) -> Pool:
    """Load scikit-learn's bundled 8 x 8 digits; ``data_dir`` is not needed."""
    rows = np.loadtxt(_digits_file(), dtype=np.int64, delimiter=",")  # 64 pixels, and the label
    inputs = torch.from_numpy(rows[:, :-1].astype(np.float32)).view(-1, 1, 8, 8)
    targets = torch.from_numpy(rows[:, -1].copy())
    train, test = slice(DIGITS_SIZES["train"]), slice(DIGITS_SIZES["train"], None)
    return dense_pool(
        inputs[train],
        targets[train],
        inputs[test],
        targets[test],
        num_classes=10,
        normalise=lambda x: (x / 16 - _DIGITS_MEAN) / _DIGITS_STD,
    )


def _digits_file() -> Path:
    """Return the path of the digits in scikit-learn, whose import would take a second."""
    package = importlib.util.find_spec("sklearn")
    assert package is not None and package.submodule_search_locations, "it is required"
    return Path(package.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"


def _normaliser(mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """Return bytes [n, C, H, W] as normalised float32."""
    means, stds = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    return lambda x: (x.float() / 255 - means) / stds


def _idx(name: str, mean: float, std: float) -> Callable[[str], Pool]:
    """Return a loader of one of torchvision's data sets in MNIST's format."""

    def load(data_dir: str) -> Pool:
        train, test = _from_torchvision(name, data_dir, {"train": True}, {"train": False})
        return dense_pool(
            train.data[:, None],
            train.targets,
            test.data[:, None],
            test.targets,
            num_classes=10,
            normalise=_normaliser([mean], [std]),
        )

    return load


def _svhn(data_dir: str) -> Pool:
    train, test = _from_torchvision("SVHN", data_dir, {"split": "train"}, {"split": "test"})
    return dense_pool(
        torch.from_numpy(train.data),
        torch.from_numpy(train.labels),
        torch.from_numpy(test.data),
        torch.from_numpy(test.labels),
        num_classes=10,
        normalise=_normaliser((0.437, 0.443, 0.472), (0.198, 0.201, 0.197)),
    )


def _from_torchvision(name: str, data_dir: str, *parts: dict[str, Any]) -> list[Any]:
    """Return the parts of a torchvision data set; a missing one is downloaded."""
    import torchvision.datasets

    dataset = getattr(torchvision.datasets, name)
    try:
        return [dataset(data_dir, download=True, **part) for part in parts]
    except Exception as error:  # torchvision raises what its downloader does
        _remove_empty(Path(data_dir) / name / "raw", Path(data_dir) / name, Path(data_dir))
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name} can neither be read from {data_dir} nor be downloaded to it ({why}); put its "
            f"files where torchvision.datasets.{name}('{data_dir}') finds them, or set 'data_dir' "
            "to a folder that has them"
        ) from error


def _remove_empty(*folders: Path) -> None:
    """Remove empty folders that a failed download has left."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _cifar(
    name: str,
    folder: str,
    files: tuple[list[str], list[str]],
    labels: bytes,
    num_classes: int,
    normalise: Callable[[Tensor], Tensor],
) -> Callable[[str], Pool]:
    """Return a loader of CIFAR's pickles.

    An existing folder is used unchanged, so that smaller or recompressed copies work too; it is
    read without running code. A missing one is downloaded and checked by torchvision.
    """

    def load(data_dir: str) -> Pool:
        path = Path(data_dir) / folder
        if not path.exists():
            _from_torchvision(name, data_dir, {})
        (train, train_labels), (test, test_labels) = (
            _read_batches([path / file for file in part], labels) for part in files
        )
        return dense_pool(
            train, train_labels, test, test_labels, num_classes=num_classes, normalise=normalise
        )

    return load


def _read_batches(paths: list[Path], labels: bytes) -> tuple[Tensor, Tensor]:
    """Return images [n, 3, 32, 32] and labels [n] of some of CIFAR's files, in their order."""
    images, targets = [], []
    for path in paths:
        batch = plain_pickle.read(path)
        try:
            images.append(np.asarray(batch[b"data"]).reshape(-1, 3, 32, 32))
            targets.append(np.asarray(batch[labels]))
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path}: not one of CIFAR's files: {error!r}") from None
        if images[-1].dtype != np.uint8 or targets[-1].dtype.kind not in "ui":
            raise UserError(f"{path}: images must be bytes, and labels whole numbers")
        if targets[-1].shape != (len(images[-1]),):
            raise UserError(f"{path}: {len(images[-1])} images, but {targets[-1].size} labels")
    return (
        torch.from_numpy(np.concatenate(images)),
        torch.from_numpy(np.concatenate(targets).astype(np.int64)),
    )


_CIFAR10_FILES = ([f"data_batch_{number}" for number in range(1, 6)], ["test_batch"])
_CIFAR100_FILES = (["train"], ["test"])
_CIFAR10_NORMAL = _normaliser((0.491, 0.482, 0.446), (0.247, 0.243, 0.261))
_CIFAR100_NORMAL = _normaliser((0.507, 0.486, 0.44), (0.267, 0.256, 0.276))

IMAGES: dict[str, Callable[[str], Pool]] = {
    "digits": _digits,
    "mnist": _idx("MNIST", 0.1307, 0.3081),
    "fmnist": _idx("FashionMNIST", 0.286, 0.353),
    "cifar10": _cifar("CIFAR10", CIFAR10_FOLDER, _CIFAR10_FILES, b"labels", 10, _CIFAR10_NORMAL),
    "cifar100": _cifar(
        "CIFAR100", CIFAR100_FOLDER, _CIFAR100_FILES, b"fine_labels", 100, _CIFAR100_NORMAL
    ),
    "cifar100coarse": _cifar(
        "CIFAR100", CIFAR100_FOLDER, _CIFAR100_FILES, b"coarse_labels", 20, _CIFAR100_NORMAL
    ),
    "svhn": _svhn,
}
"""Loaders by name of the data set; each takes ``data_dir``."""
