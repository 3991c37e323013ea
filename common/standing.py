"""How the runs of a plan stand, read from its folder alone: while it runs, and after a crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from common import status
from common.index import read_index
from common.report import advice
from common.run_folder import PlanFolder, RunFolder, read_json
from common.selection import matcher
from common.status import STATES
from common.tables import as_text

_OF_RUNS = ("experiment", "seeds", "repetitions", "configurations", "set")
"""What in a plan says which runs it makes."""


@dataclass(frozen=True)
class _Row:
    name: str
    fingerprint: str
    stage: str | None
    folder: RunFolder


def standing(folder: PlanFolder, plan: Mapping[str, Any], only: str | None = None) -> str:
    """Table of the plan's runs; of those alone in whose name or stage ``only`` is found.

    ``plan`` is the one asked about: the folder may hold the runs of another variant of it.
    """
    is_meant = matcher(only)
    rows = [row for row in _rows(folder) if is_meant(row.name, row.stage)]
    if not rows:
        nothing = "nothing has run yet" if only is None else f"nothing that fits --only '{only}'"
        return f"{folder.path}: {nothing}; --dry_run shows what would run"
    cells, states, damages = [], [], []
    for row in rows:
        found = row.folder.read_status()
        damages.append(row.folder.status_damage())
        states.append(status.current(found))
        cells.append([row.name, row.fingerprint[:8], row.stage, states[-1], _epochs(row.folder),
                      found.get("score"), found.get("seconds"), found.get("reason")])  # fmt: skip
    columns = ["name", "fingerprint", "stage", "status", "epochs", "score", "seconds", "reason"]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STATES if state in states)
    lines = [as_text(columns, cells), f"{counts} in {folder.path}", *advice(states)]
    lines += [f"{damage}; the run counts as waiting" for damage in damages if damage is not None]
    if not _makes_the_same_runs(plan, folder):
        lines.append(
            f"these are the runs of another variant of the plan, {folder.plan} (an edited file, "
            "another --set, or another file of this name); --dry_run shows yours"
        )
    return "\n".join(lines)


def _makes_the_same_runs(plan: Mapping[str, Any], folder: PlanFolder) -> bool:
    """Whether the plan that was run last in the folder makes the runs of ``plan``."""
    try:
        last = read_json(folder.plan)
    except ValueError:
        last = None
    if not isinstance(last, dict):
        return True  # nothing is known of another
    return all(plan.get(key) == last.get(key) for key in _OF_RUNS)


def _rows(folder: PlanFolder) -> Iterator[_Row]:
    """The runs that the index lists; without one, those that have left a folder."""
    listed = read_index(folder)
    for row in listed:
        run = RunFolder(folder.path / row["folder"])
        yield _Row(row["name"], row["fingerprint"], row["stage"], run)
    if not listed:
        for path in sorted(folder.path.glob("*/status.json")):
            run = RunFolder(path.parent)
            yield _Row(path.parent.name, str(run.read_status().get("fingerprint", "")), None, run)


def _epochs(folder: RunFolder) -> int | None:
    """The number of epochs that the metrics file holds."""
    try:
        with folder.metrics.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return None
