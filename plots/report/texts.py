"""Single inputs of a report, with their outputs, and outputs over training."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.run.folder import read_table
from common.run.record_schemas import DamagedError
from plots.report.configurations import Key, by_configuration, title
from plots.report.curves import short
from plots.report.runs import ReportRun

if TYPE_CHECKING:
    import pandas as pd

MOST_INPUTS = 250
"""Number of inputs of a run that are shown."""
_MOST_TABLES = 8
"""Number of tables of inputs that are shown: of runs, or of a run before and after training."""
_MOST_OUTPUTS = 3
_MOST_ROWS = 150
_MOST_TEXT = 200
_TEXTS = {"input_id", "prompt", "output"}
_PREDICTIONS = re.compile(r"epoch_(?P<epoch>\d+)_(?P<split>\w+)_split_predictions\.json")
_BEFORE = "before_training_"


def inputs(runs: Sequence[ReportRun], names: Mapping[Key, str]) -> list[dict[str, Any]]:
    """Return statistics of single inputs: mean and std of the reward, prompt and outputs.

    Classifiers have them before and after training, texts where a run has sampled.
    """
    tables = [
        [{"run": f"{title(run, names)}: {name}", **row} for row in rows]
        for run in _of_most_interest(runs)[:_MOST_TABLES]
        for name, rows in (*_of_samples(run), *_of_classifier(run))
    ]
    return [row for rows in tables[:_MOST_TABLES] for row in rows]


def _of_most_interest(runs: Sequence[ReportRun]) -> list[ReportRun]:
    """Return the runs with tables of inputs: those that sample, then one of each configuration."""
    sampling = [run for run in runs if run.folder.table("reward_stats").exists()]
    measuring = [run for run in runs if run.folder.table("per_input").exists()]
    firsts = {key: own[0] for key, own in by_configuration(measuring).items()}
    return [*sampling, *firsts.values()]


def _of_samples(run: ReportRun) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the inputs of a run that samples rewards, of its first metric."""
    stats = _table(run.folder.table("reward_stats"), [])
    samples = _table(run.folder.table("samples"), [])
    if stats is None or samples is None or stats.empty or not {*samples.columns} >= _TEXTS:
        return
    stats = stats[stats["metric"] == stats["metric"].iloc[0]].head(MOST_INPUTS)
    by_input = samples.groupby("input_id")
    rows = []
    for row in stats.to_dict("records"):
        own = by_input.get_group(row["input_id"])
        rows.append({
            **_numbers(row["mean"], row["std"]), "prompt": _cut(own["prompt"].iloc[0]),
            "outputs": "\n---\n".join(map(_cut, own["output"].head(_MOST_OUTPUTS))),
        })  # fmt: skip
    yield str(stats["metric"].iloc[0]), rows


def _of_classifier(run: ReportRun) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the inputs of a controlled run, before and after training."""
    table = _table(run.folder.table("per_input"), ["epochs_trained"])
    if table is None:
        return
    for epoch, rows in table.groupby("epochs_trained"):
        rows = rows.sort_values("changed", ascending=False).head(MOST_INPUTS)
        yield f"after {epoch} epochs", [
            {**_numbers(row["reward_mean"], row["reward_std"]),
             "prompt": f"training input {row['input']}", "outputs": _facts(row)}
            for row in rows.to_dict("records")
        ]  # fmt: skip


def _facts(row: Mapping[Any, Any]) -> str:
    label = "changed label" if row["changed"] else "own label"
    return f"{label}; norm of the expected gradient in the logits {row['logit_grad_norm']:.3g}"


def _numbers(mean: float, std: float) -> dict[str, float]:
    return {"mean": short(mean), "std": short(std)}


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame | None:
    """Return a table of a run; None if it is missing or damaged."""
    try:
        return read_table(path, columns)
    except (DamagedError, OSError):
        return None


def outputs(runs: Sequence[ReportRun], names: Mapping[Key, str]) -> list[dict[str, Any]]:
    """Return outputs for the first inputs over training, of runs that keep their predictions."""
    found: list[dict[str, Any]] = []
    for run in runs:
        files = [
            (int(match["epoch"]) if match else -1, path)
            for path in run.folder.path.glob("*_val_split_predictions.json")
            if (match := _PREDICTIONS.fullmatch(path.name)) or path.name.startswith(_BEFORE)
        ]
        kept = {epoch: _predictions(path)[:_MOST_OUTPUTS] for epoch, path in sorted(files)}
        found += [
            {"run": title(run, names), "epoch": epoch, "prompt": _cut(row.get("prompt_text", "")),
             "output": _cut(row.get("generated_text", ""))}
            for place in range(_MOST_OUTPUTS)
            for epoch, rows in kept.items()
            for row in rows[place : place + 1]
        ]  # fmt: skip
        if len(found) >= _MOST_ROWS:
            break
    return found[:_MOST_ROWS]


def _predictions(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _cut(text: Any) -> str:
    words = str(text)
    return words if len(words) <= _MOST_TEXT else words[:_MOST_TEXT] + " ..."
