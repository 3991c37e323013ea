"""Runs of a plan as its report shows them, from their folders alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.run import status
from common.run.folder import PlanFolder, RunFolder, read_json_lines
from common.run.summary import score_name
from common.runner.index import FIXED_COLUMNS, read_index
from plots.runs import counts_iterations, json_object
from plots.variants import SEEDS

Series = Mapping[float, float]
"""Numbers of a metric by step, or by epoch where a run counts no steps."""

_STEP = "step"
_LONGEST_LOG = 2**14
"""Number of bytes at the end of a log that are shown."""


@dataclass(frozen=True)
class ReportRun:
    """A run of the plan."""

    folder: RunFolder
    row: Mapping[str, str]
    """Row of the plan's index."""
    status: Mapping[str, Any]
    """Content of ``status.json``; empty before the first attempt."""
    config: Mapping[str, Any] = field(repr=False)
    """Content of ``config.json``; empty before the first attempt."""

    @cached_property
    def _measured(self) -> tuple[str, Mapping[str, Series]]:
        """Key that its rows are counted by, and `metrics`."""
        return _metrics(self.folder.metrics) if self.status else (_STEP, {})

    @property
    def metrics(self) -> Mapping[str, Series]:
        """All that was measured, by its name; nothing before the first attempt."""
        return self._measured[1]

    @property
    def unit(self) -> str:
        """Unit of what was measured: an iteration of reinforcement finetuning, a step, an epoch."""
        return "iteration" if counts_iterations(self.config) else self._measured[0]

    @property
    def is_measured(self) -> bool:
        """Return whether anything was measured."""
        return bool(self.status) and self.folder.metrics.exists()

    @property
    def name(self) -> str:
        """Name of the run in its plan."""
        return str(self.config.get("experiment_name") or self.row["name"])

    @property
    def stage(self) -> str:
        """Name of its configuration."""
        return self.row["stage"]

    @cached_property
    def state(self) -> str:
        """State of the run: done, running, and so on."""
        return status.current(self.folder, dict(self.status)) if self.status else self.row["status"]

    @property
    def score(self) -> float | None:
        """Score; None before the run is done, or without one."""
        found = self.status.get("score")
        return None if found is None else float(found)

    @cached_property
    def score_name(self) -> str:
        """Metric that is the score."""
        return score_name(self.folder) or "score"

    @cached_property
    def options(self) -> dict[str, str]:
        """Values of the keys that the plan varies, seeds left out."""
        return {
            key: value
            for key, value in self.row.items()
            if key not in FIXED_COLUMNS and not is_seed(key)
        }

    @cached_property
    def seed(self) -> str:
        """Seeds, and a repetition above 0: what tells apart runs of one configuration."""
        seeds = dict.fromkeys(value for key, value in self.row.items() if value and is_seed(key))
        repetition = self.row["repetition"]
        return ", ".join([*seeds, *([] if repetition == "0" else [f"repetition {repetition}"])])

    @cached_property
    def configuration(self) -> tuple[str, ...]:
        """Key of the runs that differ in seeds alone."""
        return (self.stage, self.name, *self.options.values())

    def log_end(self) -> str:
        """Return the last lines of the log."""
        try:
            with self.folder.log.open("rb") as file:
                start = max(0, file.seek(0, 2) - _LONGEST_LOG)
                file.seek(start)
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[1 if start else 0 :][-40:])

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Content of ``provenance.json``; empty if it is missing or damaged."""
        return json_object(self.folder.provenance)


def is_seed(key: str) -> bool:
    """Return whether a (dotted) key is a seed."""
    return key.rpartition(".")[2] in SEEDS


def load(folder: PlanFolder) -> list[ReportRun]:
    """Return the runs of a plan in the order of its index.

    A folder of a diagnosis, which holds samples alone, is as a run that is done.

    Raises:
        UserError: the folder holds neither.
    """
    rows = read_index(folder)
    if rows:
        return [_load(folder, row) for row in rows]
    samples = RunFolder(folder.path)
    if not samples.table("reward_stats").exists():
        raise UserError(f"{folder.path}: holds no runs of a plan (index.csv); give a plan's folder")
    fixed = dict.fromkeys(FIXED_COLUMNS, "")
    own = {"name": "samples", "status": status.DONE, "repetition": "0", "folder": "."}
    return [ReportRun(samples, {**fixed, **own}, {}, {})]


def _load(plan: PlanFolder, row: Mapping[str, str]) -> ReportRun:
    folder = RunFolder(plan.path / row["folder"])
    found = folder.read_status()
    own = row["fingerprint"] in (found.get("fingerprint"), found.get("config_fingerprint"))
    if not own:
        return ReportRun(folder, row, {}, {})
    return ReportRun(folder, row, found, json_object(folder.config))


def _metrics(path: Path) -> tuple[str, Mapping[str, Series]]:
    """Return the key that a run's rows are counted by, and their finite numbers.

    The last one of a step counts.
    """
    try:
        rows = read_json_lines(path)
    except OSError:
        return _STEP, {}
    key = _STEP if any(_STEP in row for row in rows) else "epoch"
    found: dict[str, dict[float, float]] = defaultdict(dict)
    for row in rows:
        if _is_number(row.get(key)):
            for name, value in row.items():
                if name != key and _is_number(value):
                    found[name][row[key]] = value
    return key, found


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
