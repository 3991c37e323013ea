"""Runs of a plan as its report shows them, from their folders alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.run import status
from common.run.folder import PlanFolder, RunFolder, read_json_lines
from common.run.summary import score_name
from common.runner.index import FIXED_COLUMNS, read_index
from plots.runs import json_object
from plots.variants import SEEDS

if TYPE_CHECKING:
    import pandas as pd

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
    metrics: pd.DataFrame = field(repr=False)
    """Metrics by step, or by epoch where a run counts no steps (index ``x``)."""

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

    @property
    def options(self) -> dict[str, str]:
        """Values of the keys that the plan varies, seeds left out."""
        return {
            key: value
            for key, value in self.row.items()
            if key not in FIXED_COLUMNS and not is_seed(key)
        }

    @property
    def seed(self) -> str:
        """Seeds and repetition, which tell apart runs of one configuration."""
        seeds = [value for key, value in self.row.items() if is_seed(key)]
        return "/".join([*dict.fromkeys(seeds), self.row["repetition"]])

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

    Raises:
        UserError: the folder holds no plan.
    """
    rows = read_index(folder)
    if not rows:
        raise UserError(f"{folder.path}: holds no runs of a plan (index.csv); give a plan's folder")
    return [_load(folder, row) for row in rows]


def _load(plan: PlanFolder, row: Mapping[str, str]) -> ReportRun:
    folder = RunFolder(plan.path / row["folder"])
    found = folder.read_status()
    own = row["fingerprint"] in (found.get("fingerprint"), found.get("config_fingerprint"))
    if not own:
        return ReportRun(folder, row, {}, {}, _no())
    return ReportRun(folder, row, found, json_object(folder.config), _metrics(folder.metrics))


def _no() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(index=pd.Index([], name="x"))


def _metrics(path: Path) -> pd.DataFrame:
    """Return the finite numbers of a run's rows, by step or else epoch; the last of each counts."""
    import pandas as pd

    try:
        rows = read_json_lines(path)
    except OSError:
        return _no()
    key = "step" if any("step" in row for row in rows) else "epoch"
    kept = [
        {name: value for name, value in row.items() if _is_number(value)}
        for row in rows
        if _is_number(row.get(key))
    ]
    if not kept:
        return _no()
    table = pd.DataFrame(kept).groupby(key).last().dropna(axis="columns", how="all")
    return table.rename_axis("x")


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def labels(runs: Sequence[ReportRun]) -> dict[tuple[str, ...], str]:
    """Return the label of each configuration: its name, with the options that tell it apart."""
    by_key = {run.configuration: run for run in runs}
    shown: dict[tuple[str, ...], str] = {}
    for key, run in by_key.items():
        alike = [other for other in by_key.values() if other.name == run.name]
        varying = [
            f"{option.rpartition('.')[2]} {value}"
            for option, value in run.options.items()
            if value and any(other.options.get(option) != value for other in alike)
        ]
        stages = {other.stage for other in alike if other.options == run.options}
        told = [run.name, *varying, *([run.stage] if len(stages) > 1 else [])]
        shown[key] = ", ".join(told)
    return shown
