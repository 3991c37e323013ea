"""The golden trajectories on digits: as near to float64 as the CPU's float32, but for a factor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gpu.controlled import InDouble, OnDevice, Row, deviation
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu

_GOLDEN = json.loads((Path(__file__).parents[1] / "golden/digits_mlp.json").read_text())
_PRETRAIN = "pretrain_multi_label"
_CASES = [name for name in _GOLDEN if name != "finetune_reinforce_sampled"]
_FACTOR = 10
"""Times the CPU's own deviation that another order of additions may bring."""
_LEAST = 1e-6
"""Relative deviation that float32 metrics have in any case."""


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint that all finetuning starts from, made on the CPU."""
    folder = tmp_path_factory.mktemp("pretrained")
    OnDevice(golden_keys(_PRETRAIN), folder, "cpu").rows()
    return str(folder / "checkpoints/last.pt")


def golden_keys(name: str, checkpoint: str | None = None) -> dict[str, Any]:
    keys = dict(_GOLDEN[name]["config"])
    return keys if checkpoint is None else {**keys, "load_model_from_checkpoint": checkpoint}


@pytest.mark.parametrize("name", _CASES)
def test_deviation_from_float64(
    name: str, pretrained: str, device: torch.device, findings: Findings, tmp_path: Path
) -> None:
    keys = golden_keys(name, None if name == _PRETRAIN else pretrained)
    exact = InDouble(keys, tmp_path / "exact", "cpu").rows()
    on_cpu = deviation(OnDevice(keys, tmp_path / "cpu", "cpu").rows(), exact)
    rows = OnDevice(keys, tmp_path / "here", device).rows()
    here = deviation(rows, exact)
    excess = [own / max(_FACTOR * other, _LEAST) for own, other in zip(here, on_cpu, strict=True)]
    worst = max(range(len(excess)), key=excess.__getitem__)
    findings.at_most(
        f"{name}: deviation from float64, epoch {worst} of {len(here)}",
        here[worst],
        max(_FACTOR * on_cpu[worst], _LEAST),
    )
    _against_published(findings, name, rows)


def _against_published(findings: Findings, name: str, rows: list[Row]) -> None:
    """The last epoch's loss, as the published code has it."""
    golden = _GOLDEN[name]["epochs"][-1]
    expected = golden["train loss"]
    findings.close(f"{name}: last train loss, published code", rows[-1]["train loss"], expected,
                   1e-4 * abs(expected) + 1e-5)  # fmt: skip
