"""Seconds from the command to the end of the first epoch on digits, beside a bare ``import torch``.

Imports are included. CPU seconds of commands that only look are printed too, and the seconds in
which a fork server starts one more worker.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from common.runner.scheduling.fork_server import ForkServer
from common.runner.scheduling.worker_process import WorkerProcess, worker_environment

_PROJECT = Path(__file__).resolve().parents[2]
_COMMAND = [sys.executable, str(_PROJECT / "run_plan.py")]
_DIGITS = _PROJECT / "experiment_plans/quickstart/digits.json"
_ROUNDS = 3
_RUN = {"dataset": "digits", "model_type": "mlp", "num_labels_per_sample": 5,
        "frac_samples_to_modify_labels": 0.1, "epochs": 100_000}  # fmt: skip


def main() -> None:
    """Prints medians of some rounds."""
    torch = _median(partial(_seconds, [sys.executable, "-c", "import torch"]))
    print(f"A bare import of torch: {torch:.1f} s")
    for name, scheduling in (("in process", {}), ("with a worker", {"multiprocess": True})):
        seconds = _median(partial(seconds_to_first_epoch, **scheduling))
        print(f"Command to first epoch, {name}: {seconds:.1f} s, {seconds - torch:.1f} s beyond it")
    for words in (["--help"], ["--dry_run", "--plan_config_path", str(_DIGITS)]):
        cpu = _median(partial(_cpu_seconds, [*_COMMAND, *words]))
        print(f"{words[0]}: {cpu:.2f} s of CPU")
    if ForkServer.is_possible():
        print(f"One more worker of a fork server: {1000 * _seconds_to_fork():.0f} ms")


def _median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(_ROUNDS))


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _seconds_to_fork() -> float:
    server = ForkServer(worker_environment((), 1), ["torch"])
    workers = [WorkerProcess((), 1, server)]  # waits until the server is ready
    started = time.perf_counter()
    workers.append(WorkerProcess((), 1, server))
    seconds = time.perf_counter() - started
    for worker in workers:
        worker.close()
    server.close()
    return seconds


def seconds_to_first_epoch(**scheduling: object) -> float:
    """Seconds from the command to the first line of a run's metrics; with more keys of the plan."""
    plan = {"configurations": [{"base_config": _RUN}], **scheduling}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        path.write_text(json.dumps(plan))
        started = time.perf_counter()
        process = subprocess.Popen(
            [*_COMMAND, "--plan_config_path", str(path)],
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
