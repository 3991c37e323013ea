"""Which edition of a published data set a folder holds: the published one, or another."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from common.identity import content_hash

_IDX_FILES = {  # bytes of the published files
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}
_IDX_FOLDERS = {"mnist": "MNIST/raw", "fmnist": "FashionMNIST/raw"}
_CIFAR_FILES = {  # MD5 of a published file; the other files come in the same archive
    "cifar10": ("cifar-10-batches-py/test_batch", "40351d587109b95175f43aff81a1287e"),
    "cifar100": ("cifar-100-python/test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
    "cifar100coarse": ("cifar-100-python/test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
}


def data_edition(dataset: str, data_dir: str) -> str | None:
    """A hash of the folder's content where it is not the published data set.

    None where it is, where nothing is there yet (the published one is then downloaded), and for
    data sets that are checked as they are read.
    """
    if dataset in _IDX_FOLDERS:
        return _idx_edition(Path(data_dir) / _IDX_FOLDERS[dataset])
    if dataset in _CIFAR_FILES:
        return _cifar_edition(Path(data_dir), *_CIFAR_FILES[dataset])
    return None


def _idx_edition(raw: Path) -> str | None:
    found = {name: raw / name for name in _IDX_FILES if (raw / name).exists()}
    if all(path.stat().st_size == _IDX_FILES[name] for name, path in found.items()):
        return None
    return "-".join(_hash(path, path.stat().st_mtime_ns) for path in found.values())


def _cifar_edition(data_dir: Path, known_file: str, md5: str) -> str | None:
    known = data_dir / known_file
    if not known.exists() or _md5(known, known.stat().st_mtime_ns) == md5:
        return None
    return _hash(known.parent, known.stat().st_mtime_ns)


# A plan asks for each of its runs; the time of the last change tells whether to read again.


@functools.cache
def _hash(path: Path, changed_at: int) -> str:
    return content_hash(path)


@functools.cache
def _md5(path: Path, changed_at: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
