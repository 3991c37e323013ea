"""Changed keys of runs, compared with done runs of the same name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config.resolve import resolve_valid_keys
from common.custom.hooks import asking
from common.key_paths import Key, assign, key_path, leaves
from common.plan.run import Run
from common.plan.run_folders import of_same_name
from common.run.folder import RunFolder, read_json
from common.run.status import DONE

_MOST_KEYS = 6
_LONGEST_VALUE = 40
_NOTHING: Any = object()


@dataclass(frozen=True)
class Change:
    """A run to be made, and the nearest done run of its name."""

    run: Run
    before: Path
    """Folder of the done run."""
    keys: Mapping[str, tuple[Any, Any]]
    """Keys that differ, with the value before and now."""

    def __str__(self) -> str:
        told = [f"{key} {_shown(old)} -> {_shown(new)}" for key, (old, new) in self.keys.items()]
        if len(told) > _MOST_KEYS:
            told = [*told[:_MOST_KEYS], f"and {len(told) - _MOST_KEYS} more"]
        what = ", ".join(told) or "no key, but what its input files hold"
        return f"{self.run.name}-{self.run.tag()}, before {self.before.name}: {what}"


def changed_runs(runs: Iterable[Run], all_runs: Iterable[Run]) -> Iterator[Change]:
    """Yield the changes of those of ``runs`` for which there are done runs of the same name.

    Done runs that belong to ``all_runs``, the runs of the plan, are not compared.
    """
    owned = {run.folder for run in all_runs}
    known: dict[Path, Mapping[Key, Any] | None] = {}
    for run in runs:
        now = _now(run)
        changes = []
        for folder in of_same_name(run):
            if folder not in owned:
                if folder not in known:
                    known[folder] = _before(run, folder)
                before = known[folder]
                if before is not None:
                    changes.append(Change(run, folder, _differences(before, now)))
        if changes:
            yield min(changes, key=lambda change: len(change.keys))


def _now(run: Run) -> Mapping[Key, Any]:
    """Return the run's keys that can change results, with the files of its references."""
    with asking(run.experiment, "identity()"):
        identity = dict(run.config.identity())
    for reference in run.references:
        assign(identity, reference.key, _in_plan(reference.target, run.folder.parent))
    return dict(leaves(identity))


def _before(run: Run, folder: Path) -> Mapping[Key, Any] | None:
    """Return the same keys of a done run, as the experiment reads them today; None if unknown."""
    if RunFolder(folder).read_status().get("status") != DONE:
        return None
    try:
        written = read_json(RunFolder(folder).config)
    except (ValueError, OSError):
        return None
    config = None
    if isinstance(written, dict):
        config, _ = resolve_valid_keys(run.spec.config, written)
    if config is None:
        return None
    with asking(run.experiment, "identity()"):
        identity = config.identity()
    return {key: _in_plan(value, folder.parent) for key, value in leaves(identity)}


def _in_plan(value: Any, folder: Path) -> Any:
    """Return a path inside the plan's folder relative to it; any other value unchanged."""
    is_inside = isinstance(value, str | Path) and Path(value).is_relative_to(folder)
    return str(Path(value).relative_to(folder)) if is_inside else value


def _differences(
    before: Mapping[Key, Any], now: Mapping[Key, Any]
) -> Mapping[str, tuple[Any, Any]]:
    pairs = {key: (before.get(key, _NOTHING), now.get(key, _NOTHING)) for key in {**before, **now}}
    return {key_path(key): (old, new) for key, (old, new) in pairs.items() if old != new}


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "(none)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
