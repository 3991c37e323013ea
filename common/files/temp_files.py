"""Names of half-written files, and leftovers: those whose writers were killed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from common.files.disk_clock import disk_now
from common.process import identity

_BESIDE = re.compile(r"\..+\.((?P<machine>[0-9a-f]{8})-)?(?P<pid>\d{1,9})\.tmp")
"""Pattern of names of files and folders that are being written."""
_LONGEST_WRITING = 3600.0
"""Seconds after which a file of a plan that another machine has begun is not being written."""


def beside_path(path: Path) -> Path:
    """Return the path where this process writes what will replace ``path``."""
    return path.with_name(f".{path.name}.{identity.this_machine()}-{os.getpid()}.tmp")


def remove_leftovers(folder: Path, *, below: bool = False, alone: bool = False) -> None:
    """Remove half-written files that killed writers have left in ``folder``.

    Files of a living process stay. Those of processes on other machines, which cannot be seen from
    here, stay for an hour.

    Args:
        folder: the folder.
        below: if true, those in its subfolders are removed too.
        alone: whether this process holds the folder's lease; no other machine writes there then.
    """
    for path, writer in list(_half_written(folder, below=below)):
        if _may_be_written(path, writer, alone=alone):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _half_written(folder: Path, *, below: bool) -> Iterator[tuple[Path, re.Match[str]]]:
    """Yield the half-written files and folders with the match of their names."""
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            match = _BESIDE.fullmatch(name)
            if match is not None:
                yield Path(place, name), match
        if not below:
            return


def _may_be_written(path: Path, writer: re.Match[str], *, alone: bool) -> bool:
    """Return whether the process that has begun the file may still go on with it."""
    pid = int(writer["pid"])
    if writer["machine"] in (None, identity.this_machine()):
        return pid != os.getpid() and psutil.pid_exists(pid)
    if alone:
        return False
    try:
        return disk_now(path.parent) - path.stat().st_mtime < _LONGEST_WRITING
    except FileNotFoundError:  # it has just been written
        return True
