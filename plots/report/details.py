"""Details of a report: single inputs, outputs over training, failures, stages, provenance."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from common.run.folder import PlanFolder
from plots.report.runs import ReportRun
from plots.runs import json_object

_MOST_INPUTS = 500
_MOST_RUNS = 4
_MOST_OUTPUTS = 3
_MOST_TEXT = 300
_PREDICTIONS = re.compile(r"epoch_(?P<epoch>\d+)_(?P<split>\w+)_split_predictions\.json")
_BEFORE = "before_training_"
_STAGE = re.compile(r"@(?P<id>[\w-]+)\.[\w-]+")


def inputs(runs: Sequence[ReportRun]) -> list[dict[str, Any]]:
    """Return statistics of single inputs of runs that sample: mean, std, prompt and outputs."""
    import pandas as pd

    found: list[dict[str, Any]] = []
    sampling = [run for run in runs if run.folder.table("reward_stats").exists()]
    for run in sampling[:_MOST_RUNS]:
        stats = pd.read_parquet(run.folder.table("reward_stats"))
        stats = stats[stats["metric"] == stats["metric"].iloc[0]].head(_MOST_INPUTS)
        samples = pd.read_parquet(
            run.folder.table("samples"), columns=["input_id", "prompt", "output"]
        ).groupby("input_id")
        for row in stats.to_dict("records"):
            own = samples.get_group(row["input_id"])
            found.append({
                "run": run.name, "metric": row["metric"], "mean": row["mean"], "std": row["std"],
                "prompt": _cut(own["prompt"].iloc[0]),
                "outputs": [_cut(text) for text in own["output"].head(_MOST_OUTPUTS)],
            })  # fmt: skip
    return found


def outputs(runs: Sequence[ReportRun]) -> list[dict[str, Any]]:
    """Return outputs over training, of runs that keep their predictions."""
    found = []
    for run in runs:
        files = [
            (int(match["epoch"]) if match else -1, path)
            for path in run.folder.path.glob("*_val_split_predictions.json")
            if (match := _PREDICTIONS.fullmatch(path.name)) or path.name.startswith(_BEFORE)
        ]
        for epoch, path in sorted(files):
            for row in _predictions(path)[:_MOST_OUTPUTS]:
                found.append({
                    "run": run.name, "epoch": epoch, "prompt": _cut(row.get("prompt_text", "")),
                    "output": _cut(row.get("generated_text", "")),
                })  # fmt: skip
    return found[: 50 * _MOST_OUTPUTS]


def _predictions(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _cut(text: Any) -> str:
    words = str(text)
    return words if len(words) <= _MOST_TEXT else words[:_MOST_TEXT] + " ..."


def failures(runs: Sequence[ReportRun]) -> list[dict[str, str]]:
    """Return what ended each run that failed: its reason, traceback and the log's last lines."""
    return [
        {
            "name": run.name, "folder": run.row["folder"], "reason": run.status.get("reason") or "",
            "traceback": run.status.get("traceback") or "", "log": run.log_end(),
        }
        for run in runs
        if run.state in ("failed", "interrupted")
    ]  # fmt: skip


def provenance(runs: Sequence[ReportRun]) -> list[tuple[str, str]]:
    """Return commit, versions and machines of all attempts, and how many differ."""
    records = [record for run in runs if (record := run.provenance)]
    attempts = [attempt for one in records for attempt in (one, *one.get("later_attempts", []))]

    def told(values: Sequence[Any]) -> str:
        different = list(dict.fromkeys(str(value) for value in values if value))
        return ", ".join(different) or "unknown"

    packages = list(dict.fromkeys(name for one in attempts for name in one.get("versions", {})))
    versions = [(name, told([one["versions"].get(name) for one in attempts])) for name in packages]
    return [
        ("commit", told([one.get("commit") for one in attempts])),
        ("uncommitted changes", "yes" if any(one.get("diff") for one in attempts) else "no"),
        ("command", told([one.get("command") for one in attempts])),
        ("Python", told([one.get("python") for one in attempts])),
        ("platform", told([one.get("platform") for one in attempts])),
        ("host and device", told([
            f"{run.status['host']}, {run.status.get('device', '')}"
            for run in runs if run.status.get("host")
        ])),
        *((name, version) for name, version in versions if version != "unknown"),
    ]  # fmt: skip


def changes(runs: Sequence[ReportRun]) -> list[dict[str, str]]:
    """Return what changed between attempts at the same run: commits and versions."""
    found = []
    for run in runs:
        record = run.provenance
        attempts = [record, *record.get("later_attempts", [])]
        for number, (before, after) in enumerate(pairwise(attempts), 2):
            told = [f"commit {before.get('commit', '?')!s:.8} to {after.get('commit', '?')!s:.8}"
                    if before.get("commit") != after.get("commit") else ""]  # fmt: skip
            told += _changed(before.get("versions", {}), after.get("versions", {}))
            words = ", ".join(filter(None, told)) or "nothing that is recorded"
            found.append({"name": run.name, "attempt": str(number), "changes": words})
    return found


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {before.get(name)} to {version}"
        for name, version in after.items()
        if before.get(name) != version
    ]


def stages(folder: PlanFolder) -> dict[str, list[str]]:
    """Return the stages of a plan in order, named as in its index, each with those it reads."""
    plan = json_object(folder.plan)
    entries = plan.get("configurations", [])
    by_id = {entry.get("id"): entry for entry in entries}
    found = {}
    for number, entry in enumerate(entries):
        name = entry.get("id") or f"configurations[{number}]"
        text = json.dumps([entry, by_id.get(entry.get("extends"), {})])
        reads = dict.fromkeys(match["id"] for match in _STAGE.finditer(text))
        found[name] = [each for each in reads if each != name]
    return found
