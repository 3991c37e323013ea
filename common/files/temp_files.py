"""Leftovers: files that killed writers left half written, see `common.run.folder.replacing`."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import psutil

_BESIDE = re.compile(r"\..+\.(?P<pid>\d{1,9})\.tmp")
"""Pattern of names of files and folders that are being written."""


def remove_leftovers(folder: Path, *, below: bool = False) -> None:
    """Remove half-written files that killed writers have left in ``folder``.

    With ``below``, those in its subfolders too. Files of a living process stay.
    """
    for path in list(folder.glob("**/.*.tmp" if below else ".*.tmp")):
        writer = _BESIDE.fullmatch(path.name)
        if writer is None or _is_of_another(int(writer["pid"])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_of_another(pid: int) -> bool:
    return pid != os.getpid() and psutil.pid_exists(pid)
