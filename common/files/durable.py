"""Files and folders that are on the disk, and would be there after a power cut.

What is written stands in memory for some seconds before it reaches the disk, the names in a folder
just as the bytes of a file. Syncing waits for that: what is not synced can be lost, or be there
empty, although something that was written later is there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_synced: dict[tuple[int, int], tuple[int, int]] = {}
"""When the files that this process has synced were last changed before, and their sizes then."""


def make_folder(path: Path) -> None:
    """Makes the folder, and those above it that are missing, on the disk too."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync(descriptor: int) -> None:
    """Waits until the content of an open file is on the disk."""
    found = os.fstat(descriptor)
    os.fsync(descriptor)
    _synced[found.st_dev, found.st_ino] = found.st_mtime_ns, found.st_size


def sync_folder(path: Path) -> None:
    """Waits until the names in the folder are on the disk; their files are another matter."""
    try:
        with _opened(path) as descriptor:
            os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network disks know files alone
            raise


def sync_tree(folder: Path) -> None:
    """Waits until everything below the folder is on the disk, and the folder itself.

    Files that this process has synced and that are as they were are not synced again. What vanishes
    meanwhile, or may not be read, is left out.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError, PermissionError):
                _sync_if_changed(path)
        with suppress(FileNotFoundError, PermissionError):
            sync_folder(Path(place))


def _sync_if_changed(path: Path) -> None:
    found = path.lstat()
    known = _synced.get((found.st_dev, found.st_ino))
    if stat.S_ISREG(found.st_mode) and known != (found.st_mtime_ns, found.st_size):
        with _opened(path) as descriptor:
            sync(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
