"""Executors on a GPU: runs that share one, a hang that is ended, tasks of a Ray cluster."""

from __future__ import annotations

from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import TINY_DIGITS
from tests.gpu.commands import Command, configurations, write_plan
from tests.gpu.findings import Findings
from tests.gpu.pausing import has_halted

pytestmark = pytest.mark.gpu

_HALTING = "custom:tests.gpu.pausing:CONTROLLED"
_LIMIT_MINUTES = 0.5


def _digits(**changes: Any) -> dict[str, Any]:
    return {**TINY_DIGITS, "epochs": 12, **changes}


def _plan(folder: Path, runs: dict[str, dict[str, Any]], **keys: Any) -> Path:
    return write_plan(folder, {**keys, "configurations": configurations(runs)})


def _ended_well(
    findings: Findings, what: str, command: Command, device: torch.device
) -> dict[str, dict[str, Any]]:
    """Notes exit status, ends and devices; returns the runs' statuses."""
    findings.equal(f"{what}: exit status", command.wait(), 0)
    statuses = {name: run.read_status() for name, run in command.runs().items()}
    for name, status in statuses.items():
        found = status["status"], str(status["device"]).partition(":")[0]
        findings.equal(f"{what}: end and device of {name}", found, ("done", device.type))
    return statuses


def test_runs_share_a_gpu(
    device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    what = "two runs per GPU"
    runs = {f"run{number}": _digits(epochs=200, random_seed=number) for number in range(2)}
    place = ("--gpu_ids", "0") if full else ("--num_parallel", "2")
    folder = _plan(tmp_path / "shared", runs, **({"runs_per_gpu": 2} if full else {}))
    with Command(folder, *place) as command:
        statuses = _ended_well(findings, what, command, device)
        spans = [(_time(each["started"]), _time(each["ended"])) for each in statuses.values()]
        (_, first_end), (second_start, _) = sorted(spans)
        findings.equal(f"{what}: at the same time", second_start < first_end, True)
        for name, status in statuses.items():
            if status.get("peak_gpu_memory"):
                findings.number(f"{what}: peak GPU memory of {name}",
                                status["peak_gpu_memory"] / 2**20, "MiB")  # fmt: skip


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_hang_is_ended_at_its_limit(
    device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    what = "time limit"
    runs = {"hangs": {**_digits(), "experiment": _HALTING}, "next": _digits()}
    place = ("--gpu_ids", "0") if full else ()
    folder = _plan(tmp_path / "limit", runs, timeout_minutes=_LIMIT_MINUTES)
    with Command(folder, *place) as command:
        statuses = _ended_well(findings, what, command, device)
        findings.equal(f"{what}: the run had halted", has_halted(command.runs()["hangs"]), True)
        found = statuses["hangs"]["attempt"], statuses["hangs"]["lost"]
        findings.equal(f"{what}: attempts, and lost ones", found, (2, 1))


def test_tasks_of_ray_see_the_gpu(
    device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    what = "Ray"
    if find_spec("ray") is None:
        findings.left_out(f"{what}: all", "needs the package ray")
        return
    from ray.cluster_utils import Cluster

    num_gpus = 1 if full else 0
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "num_gpus": num_gpus, "include_dashboard": False},
    )
    try:
        runs = {f"run{number}": _digits(random_seed=number) for number in range(2)}
        keys: dict[str, Any] = {"executor": {"id": "ray", "address": cluster.address}}
        if full:
            keys |= {"resources": {"gpus": 0.5}, "gpu_ids_pool": [0]}
        with Command(_plan(tmp_path / "ray", runs, **keys)) as command:
            _ended_well(findings, what, command, device)
    finally:
        cluster.shutdown()
