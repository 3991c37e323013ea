"""From the command to the first epoch in a worker, beside the start of torch alone."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import pytest
import torch

from tests.benchmarks.start_up import seconds_to_first_epoch
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu


def test_command_to_first_epoch(device: torch.device, full: bool, findings: Findings) -> None:
    place = {"gpu_ids_pool": [0]} if full else {}
    commands, torches = [], []
    for _ in range(3 if full else 1):
        commands.append(seconds_to_first_epoch(multiprocess=True, **place))
        torches.append(_seconds_of_torch(device))
    findings.speed(
        "command to first epoch of an MLP on digits, in a worker",
        statistics.median(commands),
        f"python -c 'import torch; torch.zeros(1, device=\"{device.type}\")'",
        statistics.median(torches),
    )


def _seconds_of_torch(device: torch.device) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", f"import torch; torch.zeros(1, device='{device.type}')"], check=True
    )
    return time.perf_counter() - started
