"""Seconds to expand and check a plan of 10,000 configurations; imports are not counted."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import sft_vs_rft  # noqa: F401  registers its experiment
from common.experiment import EXPERIMENTS
from common.plan.load import load_plan

_ROUNDS = 5


def main() -> None:
    """Prints the median of some rounds."""
    grid = {
        "base_config": {
            "experiment_name": "{dataset}_{lr}_{batch_size}",
            "dataset": "digits",
            "model_type": "mlp",
            "load_model_from_checkpoint": "@pretrain.checkpoint",
        },
        "options": {"lr": [1 + i for i in range(100)], "batch_size": list(range(1, 11))},
        "seeds": list(range(10)),
    }
    pretrain = {
        "id": "pretrain",
        "base_config": {"dataset": "digits", "model_type": "mlp"},
        "seeds": list(range(10)),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.json"
        path.write_text(json.dumps({"configurations": [pretrain, grid]}))
        seconds = []
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            plan = load_plan(path, EXPERIMENTS)
            seconds.append(time.perf_counter() - started)
    print(f"Reading a plan of {len(plan.runs)} runs: {statistics.median(seconds):.2f} s")
