"""Durable files and folders: written to the disk, so that they survive a power cut.

Written data stay in memory for some seconds before they reach the disk, both the bytes of files and
the names in folders. Syncing waits until they do. A file that is not synced can be lost or empty,
even if files written later are there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_synced: dict[tuple[int, int], tuple[int, int]] = {}
"""Modification times and sizes of the files that this process has synced."""


def make_folder(path: Path) -> None:
    """Create the folder and missing parents, on the disk too."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync(descriptor: int) -> None:
    """Wait until the content of an open file is on the disk."""
    found = os.fstat(descriptor)
    os.fsync(descriptor)
    _synced[found.st_dev, found.st_ino] = found.st_mtime_ns, found.st_size


def sync_folder(path: Path | str) -> None:
    """Wait until the names in the folder are on the disk.

    The content of its files is not included.
    """
    try:
        with _opened(path) as descriptor:
            os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network disks know files alone
            raise


def sync_tree(folder: Path, *, but: tuple[str, ...] = ()) -> None:
    """Wait until the folder and everything below it are on the disk.

    Files whose names begin with one of ``but`` are left out. Files that this process has synced
    and that have not changed since are not synced again. Files that vanish meanwhile, or that may
    not be read, are skipped.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            if not name.startswith(but):
                with suppress(FileNotFoundError, PermissionError):
                    _sync_if_changed(f"{place}/{name}")
        with suppress(FileNotFoundError, PermissionError):
            sync_folder(place)


def _sync_if_changed(path: str) -> None:
    found = os.lstat(path)
    known = _synced.get((found.st_dev, found.st_ino))
    if stat.S_ISREG(found.st_mode) and known != (found.st_mtime_ns, found.st_size):
        with _opened(path) as descriptor:
            sync(descriptor)


@contextmanager
def _opened(path: Path | str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
