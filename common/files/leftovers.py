"""What writers that were killed have left half written, see `common.run.folder.replacing`."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import psutil

_BESIDE = re.compile(r"\..+\.(?P<pid>\d{1,9})\.tmp")
"""Names of files and folders that are being written."""


def remove_leftovers(folder: Path, *, below: bool = False) -> None:
    """Removes what writers that were killed have left in ``folder``, half written.

    With ``below``, what they have left in the folders in it too. What another process that lives
    has begun stays.
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
