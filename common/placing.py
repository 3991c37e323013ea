"""Where the runs of a plan stand: a run keeps its folder when it is given another name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from common.run_folder import RunFolder

if TYPE_CHECKING:
    from common.plan import Run

_TAG = re.compile(r"[0-9a-f]{8}(-rep\d+)?$")


def place(runs: Iterable[Run], plan_name: str) -> None:
    """Sets the folder of each run, below its ``outputs_dir`` and the plan's name.

    That is ``<name>-<tag>``, or, where there is none, the folder of another name that holds the
    run already.
    """
    known: dict[Path, dict[str, Path]] = {}
    for run in runs:
        parent = Path(run.config.outputs_dir) / plan_name
        if parent not in known:
            known[parent] = _tagged(parent)
        run.folder = parent / f"{run.name}-{run.tag}"
        earlier = known[parent].get(run.tag)
        if earlier is not None and not run.folder.exists() and _holds(earlier, run):
            run.folder = earlier


def _holds(folder: Path, run: Run) -> bool:
    return RunFolder(folder).read_status().get("fingerprint") == run.fingerprint


def _tagged(parent: Path) -> dict[str, Path]:
    """The folders in ``parent`` by the tags that end their names."""
    names = sorted(path.name for path in parent.iterdir()) if parent.is_dir() else []
    found = ((name, _TAG.search(name)) for name in names)
    return {match[0]: parent / name for name, match in found if match}
