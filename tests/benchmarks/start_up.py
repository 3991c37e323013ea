"""Seconds from the command to the end of the first epoch on digits, imports included."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[2]
_ROUNDS = 3


def main() -> None:
    """Prints the median of some rounds, in this process's way and with a worker process."""
    base = {"dataset": "digits", "model_type": "mlp", "num_labels_per_sample": 5,
            "frac_samples_to_modify_labels": 0.1,
            "epochs": 100_000}  # fmt: skip
    for name, scheduling in (("in process", {}), ("with a worker", {"multiprocess": True})):
        seconds = [_seconds_to_first_epoch({"configurations": [{"base_config": base}],
                                            **scheduling}) for _ in range(_ROUNDS)]  # fmt: skip
        print(f"Command to first epoch, {name}: {statistics.median(seconds):.1f} s")


def _seconds_to_first_epoch(plan: dict[str, object]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        path.write_text(json.dumps(plan))
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, str(_PROJECT / "run_plan.py"), "--plan_config_path", str(path)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not any(p.stat().st_size for p in Path(folder).glob("outputs/*/*/*/metrics.jsonl")):
            time.sleep(0.01)
        seconds = time.perf_counter() - started
        process.kill()
        process.wait()
        time.sleep(0.5)  # a worker notices that its parent is gone
    return seconds
