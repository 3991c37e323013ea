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
_RUN = {"dataset": "digits", "model_type": "mlp", "num_labels_per_sample": 5,
        "frac_samples_to_modify_labels": 0.1, "epochs": 100_000}  # fmt: skip


def main() -> None:
    """Prints the median of some rounds, in this process's way and with a worker process."""
    for name, scheduling in (("in process", {}), ("with a worker", {"multiprocess": True})):
        seconds = [seconds_to_first_epoch(**scheduling) for _ in range(_ROUNDS)]
        print(f"Command to first epoch, {name}: {statistics.median(seconds):.1f} s")


def seconds_to_first_epoch(**scheduling: object) -> float:
    """Seconds from the command to the first line of a run's metrics; with more keys of the plan."""
    plan = {"configurations": [{"base_config": _RUN}], **scheduling}
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
            assert process.poll() is None, "the command has ended before its first epoch"
            time.sleep(0.01)
        seconds = time.perf_counter() - started
        process.kill()
        process.wait()
        time.sleep(0.5)  # a worker notices that its parent is gone
    return seconds
