"""A few updates of each architecture: as near to float64 as the CPU's float32, but for a factor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gpu import controlled
from tests.gpu.controlled import InDouble, OnDevice, deviation
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu

_FACTOR = 10
"""Times the CPU's own deviation that another order of additions may bring."""
_LEAST = 1e-6
_KINDS: dict[str, Callable[[Path, bool], dict[str, Any]]] = {
    "MLP": lambda path, full: controlled.vectors(path / "data.npz", 512 if full else 64),
    "ResNet-18": lambda path, full: controlled.images(path / "data.npz", 64 if full else 20),
    "BERT-mini": lambda path, full: controlled.sentence_pairs(
        path, 64 if full else 24, hidden_size=256 if full else 32
    ),
}
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "MLP": ("MLP", {}),
    "ResNet-18": ("ResNet-18", {}),
    "ResNet-18, channels last": ("ResNet-18", {"channels_last": True}),
    "BERT-mini": ("BERT-mini", {}),
}
_SHARED = {"frac_samples_to_modify_labels": 0.25, "lr": 1e-3, "epochs": 2}


@pytest.mark.parametrize("method", ["expected_reinforce", "supervised"])
@pytest.mark.parametrize("name", _VARIANTS)
def test_deviation_from_float64(
    name: str, method: str, device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    kind, more = _VARIANTS[name]
    made = _KINDS[kind](tmp_path / "data", full)
    count = {"MLP": 128, "ResNet-18": 32, "BERT-mini": 32}[kind] if full else 10
    keys = {**made, **_SHARED, **more, "opt_method": method, "batch_size": count}
    exact = InDouble(keys, tmp_path / "exact", "cpu").rows()
    on_cpu = deviation(OnDevice(keys, tmp_path / "cpu", "cpu").rows(), exact)
    run = OnDevice(keys, tmp_path / "here", device)
    here = deviation(run.rows(), exact)
    for epoch, (own, other) in enumerate(zip(here, on_cpu, strict=True)):
        findings.at_most(f"{name}, {method}: deviation from float64, epoch {epoch}", own,
                         max(_FACTOR * other, _LEAST))  # fmt: skip
