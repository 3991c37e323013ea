"""Index of a plan, ``index.csv``: one row per run."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common.key_paths import value_at
from common.run.folder import PlanFolder, RunFolder, write_text
from common.run.status import current

if TYPE_CHECKING:
    from common.plan.run import Plan, Run
    from common.runner.run_state import RunState

FIXED_COLUMNS = (
    "name", "stage", "fingerprint", "repetition", "status", "score", "seconds", "folder",
)  # fmt: skip
_OF_STATE = ("status", "score", "seconds")
_SECONDS_BETWEEN_WRITES = 2.0
_LARGEST_SHARE = 0.02
"""Largest part of the time in which the index of a large plan is written."""


def read_index(folder: PlanFolder) -> list[dict[str, str]]:
    """Return the rows of a plan's index; none if it is missing or damaged."""
    if not folder.index.exists():
        return []
    try:
        with folder.index.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error):
        return []
    whole = all(row.get(column) is not None for row in rows for column in FIXED_COLUMNS)
    return rows if whole else []


def refresh(folder: PlanFolder) -> None:
    """Write the index anew by what the folders of its runs say."""
    rows = read_index(folder)
    for row in rows:
        run = RunFolder(folder.path / row["folder"])
        found = run.read_status()
        if found.get("fingerprint") == row["fingerprint"]:
            cells = _cells(current(run, found), found.get("score"), found.get("seconds"))
            row.update(zip(_OF_STATE, cells, strict=True))
    if rows:
        lines = [_csv(list(rows[0])), *(_csv(list(row.values())) for row in rows)]
        write_text(folder.index, "".join(lines))


class IndexFile:
    """Writer of the index; every option that varies in the plan has a column."""

    def __init__(self, plan: Plan, states: Mapping[Run, RunState]) -> None:
        self.plan = plan
        self.states = states
        self.options = list(dict.fromkeys(key for run in plan.runs for key in run.point))
        self._lines: dict[Run, tuple[RunState, str]] = {}
        """Line of each run, and the state that it tells of."""
        self._next_write = 0.0

    def num_foreign_rows(self) -> int:
        """Return the number of runs in the index on disk that are not the plan's."""
        own = {run.fingerprint for run in self.plan.runs}
        folders = {self._folder(run) for run in self.plan.runs}  # of a former fingerprint, too
        return sum(
            row["fingerprint"] not in own and row["folder"] not in folders
            for row in read_index(self.plan.folder)
        )

    def write_now_and_then(self) -> None:
        """Write, unless the last time was a moment ago."""
        if time.monotonic() >= self._next_write:
            self.write()

    def write(self) -> None:
        """Write the state of all runs."""
        begun = time.monotonic()
        heading = _csv([*FIXED_COLUMNS, *self.options])
        write_text(self.plan.folder.index, "".join([heading, *map(self._line, self.plan.runs)]))
        now = time.monotonic()
        self._next_write = now + max(_SECONDS_BETWEEN_WRITES, (now - begun) / _LARGEST_SHARE)

    def _line(self, run: Run) -> str:
        state = self.states[run]
        told, line = self._lines.get(run, (None, ""))
        if state is not told:
            line = _csv(self._row(run, state))
            self._lines[run] = state, line
        return line

    def _row(self, run: Run, state: RunState) -> list[Any]:
        return [
            run.name,
            run.stage or f"configurations[{run.configuration}]",
            run.fingerprint,
            run.repetition,
            *_cells(state.state, state.score, state.seconds),
            self._folder(run),
            *(value_at(run.written, key, "") for key in self.options),
        ]

    def _folder(self, run: Run) -> str:
        if run.folder.parent == self.plan.folder.path:
            return run.folder.name
        return os.path.relpath(run.folder, self.plan.folder.path)


def _csv(row: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def _cells(state: str, score: float | None, seconds: float | None) -> list[Any]:
    """Return the cells of `_OF_STATE`."""
    return [
        state,
        "" if score is None else score,
        "" if seconds is None else round(seconds, 1),
    ]
