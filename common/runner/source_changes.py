"""Runs that are made again because source files of the user's have changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def source_changes(runs: Iterable[Run]) -> dict[Run, SourceChange]:
    """Return those of the runs that are still to be begun and were made with other source files.

    Of several earlier folders the latest counts.
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
        files = () if folder is None else tuple(_changed(run, folder))
        if folder is not None and files:
            found[run] = SourceChange(files, folder.path.name)
    return found


def changes_in(folders: Iterable[RunFolder]) -> Iterator[SourceChange]:
    """Yield what has changed since the attempts that the folders record."""
    for folder in folders:
        files = changed_sources(folder.read_status().get("sources", {}))
        if files:
            yield SourceChange(tuple(files), folder.path.name)


def changes_told(changes: Iterable[SourceChange]) -> Iterator[str]:
    """Yield one line for each set of changed files, with some of the folders made before."""
    by_files: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for change in changes:
        by_files[change.files].append(change.folder)
    for files, folders in by_files.items():
        more = f" and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
        have = "has" if len(files) == 1 else "have"
        since = f"{', '.join(folders[:_SHOWN])}{more}"
        yield f"{', '.join(files)} {have} changed since {since}: made again"


def _latest(parent: Path) -> Mapping[str, RunFolder]:
    """Return the folders in ``parent`` by config fingerprint; of several the one begun last."""
    found: list[tuple[str, str, RunFolder]] = []
    for path in parent.glob("*/status.json"):
        folder = RunFolder(path.parent)
        status = folder.read_status()
        known = status.get("config_fingerprint", status.get("fingerprint"))
        if known is not None and "attempt" in status:
            found.append((str(status.get("started", "")), known, folder))
    return {known: folder for _, known, folder in sorted(found, key=lambda entry: entry[0])}


def _changed(run: Run, folder: RunFolder) -> list[str]:
    """Return the source files that have changed since; by their times where no hashes are kept."""
    status: dict[str, Any] = folder.read_status()
    if "sources" in status:
        return changed_sources(status["sources"])
    begun = first_begun(folder)
    return [name for name, file in run.sources.items() if file.is_newer(begun)]
