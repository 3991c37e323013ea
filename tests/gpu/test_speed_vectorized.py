"""Seconds of an epoch of 1, 16 and 64 MLPs that are trained together, against one by one."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.benchmarks.vectorized import golden_keys, seconds_per_epoch
from tests.gpu import controlled
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu


def _keys(name: str, folder: Path) -> dict[str, Any]:
    if name == "digits":
        return golden_keys()
    return controlled.vectors(folder / "data.npz", 1000) | {
        "opt_method": "expected_reinforce", "optimizer": "adam", "batch_size": 512,
        "frac_samples_to_modify_labels": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize("runs", [1, 16, 64])
@pytest.mark.parametrize("name", ["digits", "MNIST's size"])
def test_epoch(
    name: str, runs: int, device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    if not full and (runs > 16 or name != "digits"):
        pytest.skip("takes minutes on a CPU")
    seconds = seconds_per_epoch(
        runs, shared=_keys(name, tmp_path), epochs=5 if full else 2, rounds=3 if full else 2,
        gpu_ids=(0,) if device.type == "cuda" else (),
    )  # fmt: skip
    together, alone = (
        statistics.median(seconds[way]) for way in ("together", "one after the other")
    )
    findings.speed(f"epoch of {runs} MLPs of {name}, together", together, "one after the other",
                   alone)  # fmt: skip
