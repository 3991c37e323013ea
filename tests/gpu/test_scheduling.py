"""Runs on one GPU: in a process each, in two at a time, killed, too large, and by other names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from common.run.folder import RunFolder
from tests.conftest import TINY_DIGITS
from tests.gpu import greedy, holders
from tests.gpu.commands import Command, configurations, kill_run, write_plan
from tests.gpu.findings import Findings
from tests.gpu.holders import Watch
from tests.gpu.pausing import has_halted

pytestmark = pytest.mark.gpu

_HALTING = "custom:tests.gpu.pausing:CONTROLLED"
_GREEDY = "custom:tests.gpu.greedy:EXPERIMENT"
_BETWEEN_LOOKS = 0.2
_LONGEST_IDLE = 3.0
"""Seconds within which a process whose run has ended lets go of the GPU."""
_NEEDS_GPU = "needs a GPU"


@pytest.fixture(scope="module")
def why_not_told(device: torch.device, full: bool) -> str:
    """Why nobody can tell who holds the GPU; empty where that can be told."""
    if not full:
        return _NEEDS_GPU
    torch.zeros(1, device=device)
    return "" if holders.can_be_told() else "open device files do not tell it here"


def _digits(device: torch.device, **changes: Any) -> dict[str, Any]:
    gpu_ids = [0] if device.type == "cuda" else []
    return {**TINY_DIGITS, "epochs": 8, "gpu_ids": gpu_ids, **changes}


def _plan(folder: Path, runs: dict[str, dict[str, Any]]) -> Path:
    return write_plan(folder, {"configurations": configurations(runs)})


def _ended_well(findings: Findings, what: str, runs: dict[str, RunFolder], kind: str) -> None:
    for name, folder in runs.items():
        status = folder.read_status()
        found = status["status"], str(status["device"]).partition(":")[0]
        findings.equal(f"{what}: end and device of {name}", found, ("done", kind))


def test_one_after_the_other(
    device: torch.device, findings: Findings, tmp_path: Path, why_not_told: str
) -> None:
    what = "one after the other"
    runs = {f"run{number}": _digits(device, random_seed=number) for number in range(3)}
    with Command(_plan(tmp_path / what, runs)) as command:
        if why_not_told:
            findings.left_out(f"{what}: who held the GPU", why_not_told)
        else:
            _runner_held_nothing(findings, what, _watched(command))
        findings.equal(f"{what}: exit status", command.wait(), 0)
        _ended_well(findings, what, command.runs(), device.type)


def _watched(command: Command) -> Watch:
    """What was seen until the command's end."""
    watch = Watch(command)
    while watch.look():
        time.sleep(_BETWEEN_LOOKS)
    return watch


def _runner_held_nothing(findings: Findings, what: str, watch: Watch) -> None:
    found = watch.runner_has_cuda, watch.runner_is_listed
    findings.equal(f"{what}: the runner has started CUDA, or is listed", found, (False, False))
    findings.at_most(f"{what}: seconds that a process held the GPU without a run",
                     watch.longest_idle, _LONGEST_IDLE)  # fmt: skip
    findings.equal(f"{what}: processes that hold the GPU afterwards", watch.left_over(), set())
    if watch.peak:
        findings.number(f"{what}: most memory listed for its processes", watch.peak, "MiB")
    else:
        findings.left_out(f"{what}: memory by process", "nvidia-smi lists none by its number here")


def test_two_workers_of_which_one_is_killed(
    device: torch.device, full: bool, findings: Findings, tmp_path: Path, why_not_told: str
) -> None:
    what = "two workers"
    runs = {"killed": {**_digits(device, epochs=12), "experiment": _HALTING}}
    runs |= {f"run{number}": _digits(device, random_seed=number) for number in range(2)}
    place = ("--gpu_ids", "0") if full else ()
    folder = _plan(tmp_path / what, runs)
    with Command(folder, "--num_parallel", "2", *place) as command:
        command.wait_until(lambda: _others_are_done(command))
        killed = command.runs()["killed"]
        if not why_not_told:
            _only_the_run_holds_the_gpu(findings, what, command, killed)
        kill_run(killed)
        if why_not_told:
            findings.left_out(f"{what}: who held the GPU", why_not_told)
        else:
            _runner_held_nothing(findings, what, _watched(command))
        findings.equal(f"{what}: exit status", command.wait(), 0)
        findings.equal(f"{what}: the console tells that it is continued",
                       "killed: its worker process was ended by SIGKILL" in command.printed
                       and "it is continued" in command.printed, True)  # fmt: skip
        _ended_well(findings, what, command.runs(), device.type)
        attempts = {name: run.read_status()["attempt"] for name, run in command.runs().items()}
        findings.equal(f"{what}: attempts", attempts, {"killed": 2, "run0": 1, "run1": 1})


def _others_are_done(command: Command) -> bool:
    """Whether one run has halted, and the other worker has no run any more."""
    runs = command.runs()
    done = [name for name, run in runs.items() if run.read_status().get("status") == "done"]
    return len(done) == 2 and has_halted(runs["killed"])


def _only_the_run_holds_the_gpu(
    findings: Findings, what: str, command: Command, run: RunFolder
) -> None:
    """While one worker has a run and the other none."""
    watch, expected = Watch(command), {run.read_status()["pid"]}
    deadline = time.monotonic() + _LONGEST_IDLE
    while watch.holding() != expected and time.monotonic() < deadline:
        time.sleep(_BETWEEN_LOOKS)
    findings.equal(f"{what}: processes that hold the GPU while one has a run", watch.holding(),
                   expected)  # fmt: skip
    memory = holders.listed()
    for pid in expected & memory.keys():
        findings.number(f"{what}: memory listed for the run", memory[pid], "MiB")


def test_a_run_that_is_too_large_says_what_to_change(
    device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    what = "too large"
    size = greedy.SIZE_ON_CPU
    if full:
        total = torch.cuda.get_device_properties(device).total_memory
        size = f"{greedy.num_bytes(total) / 2**30:.2f} GiB"
    runs = {"large": {**_digits(device), "experiment": _GREEDY}, "next": _digits(device)}
    with Command(_plan(tmp_path / what, runs)) as command:
        findings.equal(f"{what}: exit status", command.wait(), 1)
        large, other = (command.runs()[name] for name in ("large", "next"))
        status = large.read_status()
        findings.equal(f"{what}: end of the run", status["status"], "failed")
        reason = str(status["reason"])
        for part in ("out of GPU memory", size, "lower 'batch_size' (32)"):
            findings.equal(f"{what}: '{part}' in its reason",
                           part if part in reason else reason, part)  # fmt: skip
        _ended_well(findings, f"{what}, afterwards", {"next": other}, device.type)


def test_gpus_by_other_names(
    device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    named = ["0", holders.uuids()[0], "0,-1", ""] if full else [""]
    if not full:
        findings.left_out("CUDA_VISIBLE_DEVICES that shows a GPU", _NEEDS_GPU)
    commands = {}
    run = {**_digits(device), "gpu_ids": [0]}
    for number, visible in enumerate(named):
        environment = {"CUDA_VISIBLE_DEVICES": visible}
        folder = _plan(tmp_path / str(number), {"run": run})
        commands[visible] = Command(folder, environment=environment), _has_gpu(environment)
    for visible, (command, expected) in commands.items():
        with command:
            name = re.sub("(?<=GPU-)[-0-9a-f]+", "...", visible)
            findings.equal(f"CUDA_VISIBLE_DEVICES '{name}': exit status", command.wait(), 0)
            kind = "cuda" if expected else "cpu"
            _ended_well(findings, f"CUDA_VISIBLE_DEVICES '{name}'", command.runs(), kind)


def _has_gpu(environment: dict[str, str]) -> bool:
    """Whether torch finds a GPU in this environment."""
    code = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 9)"
    status = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment},
                            check=False).returncode  # fmt: skip
    assert status in (0, 9)
    return status == 0
