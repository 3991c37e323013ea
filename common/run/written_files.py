"""Files of a run that is done: their sizes, by which damage afterwards is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from common.run.folder import RunFolder

SIZES = "sizes"
"""Entry of ``status.json`` with the number of bytes of each file, by its path in the folder."""


def sizes(folder: RunFolder) -> dict[str, int]:
    """Return the sizes of the run's records, tables and checkpoints; not of what may still grow."""
    growing = {folder.status.name, folder.log.name}
    found = sorted(_sizes(folder))
    return {name: size for name, size in found if name not in growing}


def _sizes(folder: RunFolder) -> Iterator[tuple[str, int]]:
    for place in ("", f"{folder.checkpoints.name}/"):
        with suppress(FileNotFoundError), os.scandir(f"{folder.path}/{place}") as entries:
            for entry in entries:  # hidden ones are leases, half-written, or a file server's own
                if entry.is_file() and not entry.name.startswith("."):
                    yield f"{place}{entry.name}", entry.stat().st_size


def damage(folder: RunFolder, status: Mapping[str, Any]) -> str | None:
    """Return what is damaged of a run that was done, by its ``status``; None if nothing is.

    Checkpoints, of which a run that is done needs none, may have been removed.
    """
    for name, size in status.get(SIZES, {}).items():
        try:
            found = os.stat(f"{folder.path}/{name}").st_size  # noqa: PTH116  of ten thousand runs
        except OSError:
            if "/" not in name:
                return f"{folder.path / name} is damaged (it is missing)"
            continue
        if found != size:
            return f"{folder.path / name} is damaged (it has {found} of {size} bytes)"
    return None
