"""A plan's folder with as many runs as are asked for, written without making them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

_METRICS = (
    "train loss", "test loss", "train accuracy", "test accuracy", "reward", "grad norm",
    "reward small reward std", "reward large reward std", "avg reward std small reward std",
    "avg reward std large reward std", "seconds",
)  # fmt: skip


def write_plan_folder(
    folder: Path, num_configurations: int, num_seeds: int, num_epochs: int = 100
) -> None:
    """Writes the folder of a plan of two options: half of its configurations have each method."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(num_configurations):
        options = {"lr": f"{number // 2 + 1}e-4", "opt_method": ("sft", "rft")[number % 2]}
        for seed in range(num_seeds):
            name = f"{options['opt_method']}-{number:04}{seed:04}"
            score = float(rng.normal(number, 1))
            _write_run(
                folder / name, name, score, rng.normal(score, 1, (num_epochs, len(_METRICS)))
            )
            rows.append({
                "name": options["opt_method"], "stage": "fit", "fingerprint": name,
                "repetition": 0, "status": "done", "score": score, "seconds": 1.0,
                "folder": name, "random_seed": seed, **options,
            })  # fmt: skip
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "plan.json").write_text(
        json.dumps({"name": "many", "configurations": [{"id": "fit"}]})
    )


def _write_run(folder: Path, fingerprint: str, score: float, values: np.ndarray) -> None:
    folder.mkdir()
    versions = {f"package{number}": "1.0.0" for number in range(12)}
    records = {
        "status": {"status": "done", "fingerprint": fingerprint, "score": score, "seconds": 1.0,
                   "attempt": 1, "host": "here", "device": "cpu"},
        "summary": {"score": score, "score_metric_name": "test loss"},
        "config": {"experiment_name": fingerprint.partition("-")[0]},
        "provenance": {"seeds": {"random_seed": 0}, "threads": 1, "commit": "0" * 40,
                       "diff": "x" * 2_000, "versions": versions},
    }  # fmt: skip
    for name, record in records.items():
        (folder / f"{name}.json").write_text(json.dumps(record))
    lines = [
        json.dumps({"epoch": epoch, **dict(zip(_METRICS, map(float, row), strict=True))})
        for epoch, row in enumerate(values)
    ]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
