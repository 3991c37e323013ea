"""Files and folders that are on the disk, and would be there after a power cut.

What is written stands in memory for some seconds before it reaches the disk, the names in a folder
just as the bytes of a file. Syncing waits for that: what is not synced can be lost, or be there
empty, although something that was written later is there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def make_folder(path: Path) -> None:
    """Makes the folder, and those above it that are missing, on the disk too."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Waits until the file's content is on the disk."""
    with _opened(path) as descriptor:
        os.fsync(descriptor)


def sync_folder(path: Path) -> None:
    """Waits until the names in the folder are on the disk; their files are another matter."""
    try:
        sync_file(path)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network disks know files alone
            raise


def sync_tree(folder: Path) -> None:
    """Waits until everything below the folder is on the disk, and the folder itself.

    What is on the disk already costs next to nothing. What vanishes meanwhile, or may not be read,
    is left out.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for path in (Path(place, name) for name in names):
            if path.is_file() and not path.is_symlink():
                with suppress(FileNotFoundError, PermissionError):
                    sync_file(path)
        with suppress(FileNotFoundError, PermissionError):
            sync_folder(Path(place))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
