"""Readers of plan folders and run folders: their runs, and the runs' measurements."""

from __future__ import annotations

import csv
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.key_paths import value_at
from common.run.folder import PlanFolder, RunFolder, read_json, read_json_lines
from plots.needs.wanted import Wanted
from plots.own_names import own_name, with_own_names

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

CHANGED = "small reward std"
OTHERS = "large reward std"
PARTS = (CHANGED, OTHERS)
"""Parts of the training inputs in metric names: with a changed label, and the others."""

NUMBERS = ["reward_std", "logit_grad_norm"]
"""Measurements of each input: the reward's std, and the norm of the expected gradient."""

BOUND_NUMBERS = ["reward_std", "grad_norm", "jacobian_norm", "bound"]
"""Columns of the theory's table per input: both sides of the bound on the expected gradient."""

DIAGNOSIS = "diagnosis.json"
"""File in the folder of a diagnosis, which has samples and statistics as a run that samples has."""


@dataclass(frozen=True, eq=False)
class Run:
    """A run that can be drawn."""

    path: Path
    config: dict[str, Any] = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    """Table of the run that a figure draws."""

    @property
    def method(self) -> str:
        """Method of the run: its ``opt_method``, or the ``id`` of its algorithm."""
        if self.config.get("opt_method"):
            return str(self.config["opt_method"])
        algorithm = str(value_at(self.config, "alg.id", "unknown method"))
        return "supervised" if "supervised" in algorithm else algorithm

    def column(self, metric: str) -> str:
        """Return the name that a metric has in the run's table.

        Metrics of A2C and NLPO may be asked for as ``ppo/...``, their name in earlier versions.
        """
        return own_name(metric, self.method)

    @property
    def unit(self) -> str:
        """Unit of the run's epochs: a pass over its inputs, or an iteration."""
        return "iteration" if counts_iterations(self.config) else "epoch"

    @property
    def metrics(self) -> list[str]:
        """Names of what was measured: the table's columns, but for the epoch."""
        return [str(name) for name in self.table.columns if name != "epoch"]

    @property
    def name(self) -> str:
        """Name of the run in its plan: its ``experiment_name``."""
        return str(self.config.get("experiment_name") or self.path.name)


@dataclass(frozen=True)
class _Entry:
    path: Path
    status: str


def load_runs(paths: Sequence[Path], wanted: Wanted, only: str = "") -> list[Run]:
    """Return the runs in plan folders and run folders that have the table, each once, in order.

    A warning names runs that have it but are not done. Only runs whose folder's name, which begins
    with the run's name, matches the regular expression ``only`` are returned.

    Raises:
        UserError: one of ``paths`` is missing or holds no runs, ``only`` matches none of them, or
            no run has the table.
    """
    found = {entry.path.resolve(): entry for path in paths for entry in _entries(path)}
    entries = {place: entry for place, entry in found.items() if re.search(only, place.name)}
    if found and not entries:
        names = ", ".join(place.name for place in found)
        raise UserError(f"'only' = '{only}': found in no run's name; there are {names}")
    runs = []
    unfinished = []
    for entry in entries.values():
        folder = RunFolder(entry.path)
        table = wanted.read(folder)
        if table is None:
            continue
        config = json_object(folder.config)
        if not config and not is_diagnosis(entry.path):
            logger.warning("%s: left out, config.json is missing or unreadable", entry.path)
            continue
        run = Run(entry.path, config, table)
        runs.append(replace(run, table=with_own_names(table, run.method)))
        if entry.status != "done":
            unfinished.append(f"{entry.path.name} ({entry.status})")
    if not runs:
        raise UserError(_nothing_to_draw(paths, list(entries.values()), wanted))
    if unfinished:
        logger.warning("drawn as far as they got, not done: %s", ", ".join(unfinished))
    return runs


def metric_names(runs: Sequence[Run], metric: str) -> str:
    """Return the names that a metric has in the runs that measured it."""
    columns = dict.fromkeys(run.column(metric) for run in runs)
    return " or ".join(name for name in columns if any(name in run.table for run in runs))


def _entries(path: Path) -> Iterator[_Entry]:
    """Yield the runs of a plan folder, or the single run of a run folder."""
    plan, run = PlanFolder(path), RunFolder(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give a plan's folder or a run's folder")
    if plan.index.exists():
        yield from _listed(plan)
    elif run.config.exists() or run.metrics.exists():
        yield _Entry(path, str(json_object(run.status).get("status", "status unknown")))
    elif is_diagnosis(path):
        yield _Entry(path, "done")
    else:
        raise UserError(
            f"{path}: no runs here; expected the folder of a plan (with index.csv), of a run (with "
            f"config.json) or of a diagnosis (with {DIAGNOSIS})"
        )


def is_diagnosis(path: Path) -> bool:
    """Return whether a folder is that of a diagnosis."""
    return (path / DIAGNOSIS).exists()


def _listed(plan: PlanFolder) -> Iterator[_Entry]:
    try:
        with plan.index.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{plan.index}: cannot be read: {error}; run the plan again, which writes it again"
        ) from error
    listed = [row for row in rows if row.get("folder")]
    if len(listed) < len(rows):
        lost = len(rows) - len(listed)
        logger.warning("%s: %d rows name no folder and are left out", plan.index, lost)
    for row in listed:
        yield _Entry(plan.path / row["folder"], row.get("status") or "status unknown")


def _nothing_to_draw(paths: Sequence[Path], entries: Sequence[_Entry], wanted: Wanted) -> str:
    places = ", ".join(str(path) for path in paths) or "no folder"
    lines = [f"nothing to draw: no run has {wanted.description}", f"  looked in: {places}"]
    unfinished = Counter(entry.status for entry in entries if entry.status != "done")
    if unfinished:
        statuses = ", ".join(f"{count} {status}" for status, count in unfinished.items())
        lines += [
            f"  {unfinished.total()} of {len(entries)} runs are not done ({statuses}); run the "
            "plan to its end and draw again"
        ]
    return "\n".join([*lines, f"  {wanted.fix}"])


def counts_iterations(config: Mapping[str, Any]) -> bool:
    """Return whether the steps and epochs of a run are iterations of reinforcement finetuning."""
    has_iterations = value_at(config, "train_evaluation.n_iters") is not None
    return has_iterations and "supervised" not in str(value_at(config, "alg.id"))


def json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``; empty if there is none, or if it cannot be read."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_curves(folder: RunFolder) -> pd.DataFrame | None:
    """Return the run's metrics of the two parts of its inputs, by epoch (index, from 0).

    Numbers that are not finite are NaN. The result is None if nothing was measured on changed
    inputs, as in a pretraining run.
    """
    import pandas as pd

    try:
        rows = read_json_lines(folder.metrics)
    except OSError as error:
        logger.warning("%s: left out, cannot be read: %s", folder.metrics, error)
        return None
    by_epoch = {row["epoch"]: row for row in rows if isinstance(row.get("epoch"), int)}
    table = pd.DataFrame(
        [
            {name: _finite(row[name]) for name in row if name.endswith(PARTS)}
            for row in by_epoch.values()
        ],
        index=pd.Index(by_epoch, name="epoch"),
        dtype=float,
    ).sort_index()
    measured = table.filter(regex=f"{CHANGED}$").notna()
    return table if measured.any(axis=None) else None


def read_steps(folder: RunFolder) -> pd.DataFrame | None:
    """Return all metrics of a run whose lines have a step and an epoch, by step (index).

    Numbers that are not finite, and metrics that a line lacks, are NaN. If several lines have the
    same step, the last one with a number counts. The result is None if there are no such lines.
    """
    import pandas as pd

    try:
        rows = read_json_lines(folder.metrics)
    except OSError as error:
        logger.warning("%s: left out, cannot be read: %s", folder.metrics, error)
        return None
    kept = [
        {name: _finite(value) for name, value in row.items()}
        for row in rows
        if isinstance(row.get("step"), int) and math.isfinite(_finite(row.get("epoch")))
    ]
    if not kept:
        return None
    table = pd.DataFrame(kept).astype({"step": int}).groupby("step").last()
    return table.dropna(axis="columns", how="all")


def _finite(value: Any) -> float:
    return value if isinstance(value, (int, float)) and math.isfinite(value) else math.nan


def read_inputs(folder: RunFolder) -> pd.DataFrame | None:
    """Return the run's measurements of single inputs, one row per input and measured epoch.

    The result is None if there are none, or if no input has a changed label.
    """
    return _read_table(folder.table("per_input"), NUMBERS)


def read_bounds(folder: RunFolder) -> pd.DataFrame | None:
    """Return the norms of single inputs' expected gradients and their bounds, as `read_inputs`."""
    return _read_table(folder.table("theory"), BOUND_NUMBERS)


def _read_table(path: Path, numbers: list[str]) -> pd.DataFrame | None:
    import pandas as pd

    if not path.exists():
        return None
    try:
        table = pd.read_parquet(path, columns=["epochs_trained", "input", "changed", *numbers])
        table = table.astype({"epochs_trained": int, "changed": bool})
        table[numbers] = table[numbers].apply(pd.to_numeric)
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s: left out, cannot be read: %s", path, str(error).partition("\n")[0])
        return None
    finite = table[numbers].abs().lt(float("inf")).all(axis=1)
    if not finite.all():
        logger.warning("%s: %d rows without finite numbers are left out", path, (~finite).sum())
    return table[finite] if table["changed"][finite].any() else None
