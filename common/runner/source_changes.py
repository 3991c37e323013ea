"""Changed source files of users' parts, for which runs are repeated."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.custom.sources import changed_sources
from common.run.folder import RunFolder
from common.run.status import first_begun

if TYPE_CHECKING:
    from common.plan.run import Run

_SHOWN = 3


@dataclass(frozen=True)
class SourceChange:
    """Source files that have changed since a run with the same keys was made."""

    files: tuple[str, ...]
    folder: str
    """Name of the earlier folder."""
    by_time: bool = False
    """True if the files are only known to be newer: the folder holds no hashes."""


def source_changes(runs: Iterable[Run]) -> dict[Run, SourceChange]:
    """Return the runs to be made that were made before with other source files.

    If there are several earlier folders, the latest counts.
    """
    found: dict[Run, SourceChange] = {}
    earlier: dict[Path, Mapping[str, RunFolder]] = {}
    for run in runs:
        if not run.sources or run.folder.exists():
            continue
        parent = run.folder.parent
        if parent not in earlier:
            earlier[parent] = _latest(parent)
        folder = earlier[parent].get(run.config_fingerprint)
        change = None if folder is None else _change(run, folder)
        if change is not None and change.files:
            found[run] = change
    return found


def changes_in(folders: Iterable[RunFolder]) -> Iterator[SourceChange]:
    """Yield the changes since the attempts that the folders record."""
    changed = functools.cache(lambda hashes: tuple(changed_sources(dict(hashes))))
    for folder in folders:
        files = changed(tuple(folder.read_status().get("sources", {}).items()))
        if files:
            yield SourceChange(files, folder.path.name)


def changes_told(changes: Iterable[SourceChange]) -> Iterator[str]:
    """Yield one line for each set of changed files, with some of the earlier folders."""
    alike: dict[tuple[tuple[str, ...], bool], list[str]] = defaultdict(list)
    for change in changes:
        alike[change.files, change.by_time].append(change.folder)
    for (files, by_time), folders in alike.items():
        more = f" and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
        have, are = ("has", "is") if len(files) == 1 else ("have", "are")
        since = f"{are} newer than" if by_time else f"{have} changed since"
        yield f"{', '.join(files)} {since} {', '.join(folders[:_SHOWN])}{more}: made again"


def _latest(parent: Path) -> Mapping[str, RunFolder]:
    """Return the folders in ``parent`` by config fingerprint; the latest if there are several."""
    found: list[tuple[str, str, RunFolder]] = []
    for path in parent.glob("*/status.json"):
        folder = RunFolder(path.parent)
        status = folder.read_status()
        known = status.get("config_fingerprint", status.get("fingerprint"))
        if known is not None and "attempt" in status:
            found.append((str(status.get("started", "")), known, folder))
    return {known: folder for _, known, folder in sorted(found, key=lambda entry: entry[0])}


def _change(run: Run, folder: RunFolder) -> SourceChange:
    """Return the source files of the run that have changed since ``folder`` was made."""
    status = folder.read_status()
    if "sources" in status:
        return SourceChange(tuple(changed_sources(status["sources"])), folder.path.name)
    begun = first_begun(folder)
    newer = tuple(name for name, file in run.sources.items() if file.is_newer(begun))
    return SourceChange(newer, folder.path.name, by_time=True)
