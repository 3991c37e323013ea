"""Folders of a plan's runs; a run keeps its folder when it is renamed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from common.run.folder import RunFolder
from common.run.status import first_begun

if TYPE_CHECKING:
    from common.plan.run import Run

_DIGITS = (8, 16, 32, 64)
"""Numbers of a fingerprint's digits in a folder's name; longer ones are used for ambiguous
names."""
_TAG = re.compile(r"[0-9a-f]{8,64}(-rep\d+)?$")


def place(runs: Iterable[Run], plan_name: str) -> None:
    """Set the folder of each run, below its ``outputs_dir`` and the plan's name.

    It is ``<name>-<tag>`` or, if that does not exist, a folder of another name that holds the run
    already. A tag that another run has gets more digits.
    """
    known: dict[Path, dict[str, Path]] = {}
    taken: set[Path] = set()
    for run in runs:
        parent = Path(run.config.outputs_dir) / plan_name
        if parent not in known:
            known[parent] = _tagged(parent)
        run.folder = next(
            folder
            for digits in _DIGITS
            for folder in _of_digits(run, parent, digits, known[parent])
            if folder not in taken
        )
        taken.add(run.folder)


def of_same_name(run: Run) -> Iterator[Path]:
    """Yield the folders next to the run's own that have its name and repetition, sorted."""
    parent = run.folder.parent
    name = re.compile(rf"{re.escape(run.name)}-{_TAG.pattern}")
    for path in sorted(parent.iterdir()) if parent.is_dir() else ():
        match = name.match(path.name)
        if match and path != run.folder and (match[1] or "") == run.tag()[8:]:
            yield path


def _of_digits(run: Run, parent: Path, digits: int, known: Mapping[str, Path]) -> Iterator[Path]:
    """Yield the folders that the run may have; none if its own holds another run."""
    tag, former_tag = run.tag(digits), run.tag(digits, run.config_fingerprint)
    own = parent / f"{run.name}-{tag}"
    if own.exists():
        if RunFolder(own).read_status().get("fingerprint") in (None, run.fingerprint):
            yield own
        return
    for earlier in dict.fromkeys((known.get(tag), known.get(former_tag))):
        if earlier is not None and _holds(RunFolder(earlier), run):
            yield earlier
    yield own


def _holds(folder: RunFolder, run: Run) -> bool:
    """Return whether a folder is the run's.

    A folder without recorded source files is the run's if they are older than the folder.
    """
    found = folder.read_status()
    if "sources" in found or found.get("fingerprint") == run.fingerprint:
        return found.get("fingerprint") == run.fingerprint
    return found.get("fingerprint") == run.config_fingerprint and not _has_newer(run, folder)


def _has_newer(run: Run, folder: RunFolder) -> bool:
    """Return whether a source file of the run is newer than its first attempt."""
    begun = first_begun(folder)
    return any(file.is_newer(begun) for file in run.sources.values())


def _tagged(parent: Path) -> dict[str, Path]:
    """Return the folders in ``parent`` by the tags that end their names."""
    names = sorted(path.name for path in parent.iterdir()) if parent.is_dir() else []
    found = ((name, _TAG.search(name)) for name in names)
    return {match[0]: parent / name for name, match in found if match}
