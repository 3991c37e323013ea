"""Clock of a disk, which may be a file server's: it sets the times of the disk's files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from common.process import identity

_SECONDS_TRUSTED = 30.0
"""Seconds for which a measured difference of clocks is used."""

_differences: dict[int, tuple[float, float]] = {}
"""For each disk, the time of its clock at 0 of this process's, and when that was measured."""


def disk_now(folder: Path) -> float:
    """Return the present time, in seconds since 1970, of the clock of the folder's disk."""
    device = folder.stat().st_dev
    own = time.monotonic()
    difference, measured = _differences.get(device, (0.0, own - _SECONDS_TRUSTED))
    if own - measured >= _SECONDS_TRUSTED:
        difference = _time_of_new_file(folder) - own
        _differences[device] = difference, own
    return own + difference


def _time_of_new_file(folder: Path) -> float:
    """Return the time that the disk gives to a file that is touched now.

    Where none may be made, the disk is taken to have the clock of this machine.
    """
    path = folder / f".now.{identity.this_machine()}-{os.getpid()}.tmp"
    try:
        path.touch()
        return path.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        path.unlink(missing_ok=True)
