"""Edition of a data set in a folder: the published files, or others with their hash."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from common.hashing import fingerprint

_CIFAR100 = (
    "cifar-100-python",
    {"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
)
_PUBLISHED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "mnist": (
        "MNIST/raw",
        {
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
    ),
    "fmnist": (
        "FashionMNIST/raw",
        {
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
    ),
    "cifar10": (
        "cifar-10-batches-py",
        {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        },
    ),
    "cifar100": _CIFAR100,
    "cifar100coarse": _CIFAR100,
}
"""Folder and files of each data set, with the MD5 sums of the published files."""


def data_edition(dataset: str, data_dir: str) -> str | None:
    """Return a hash of a data set's files if they are not the published ones.

    None for the published files, for a missing data set (which will be downloaded), and for data
    sets that are checked as they are read.
    """
    folder, published = _PUBLISHED.get(dataset, ("", {}))
    paths = {name: Path(data_dir) / folder / name for name in published}
    found = {
        name: _md5(path, path.stat().st_mtime_ns) for name, path in paths.items() if path.exists()
    }
    is_published = all(found[name] == published[name] for name in found)
    return None if is_published else fingerprint(found)


@functools.cache
def _md5(path: Path, changed_at: int) -> str:
    """Return the hash of a file, cached until its modification time changes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
