"""Runs that are trained together equal their solo runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from common.run.folder import read_json_lines
from common.training import checkpoint
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.vectorized.together import run_together
from tests.benchmarks.vectorized import Member, golden_keys
from tests.gpu.controlled import OnDevice, context, deviation
from tests.gpu.findings import Findings, largest

pytestmark = pytest.mark.gpu

_EPOCHS = 8
_DIFFERENT: list[dict[str, Any]] = [
    {}, {"lr": 0.003}, {"random_seed": 5, "samples_rnd_seed": 6, "init_rnd_seed": 7},
    {"frac_samples_to_modify_labels": 0.0}, {"kl_regularization_coeff": 0.3},
    {"logits_temperature": 2.0}, {"reward_type": "labels_with_custom"},
]  # fmt: skip


@pytest.mark.parametrize("method", ["expected_reinforce", "reinforce", "supervised"])
def test_together_as_alone(
    method: str, device: torch.device, findings: Findings, tmp_path: Path
) -> None:
    shared = {**golden_keys(), "epochs": _EPOCHS, "opt_method": method}
    configs = [ControlledConfig.model_validate(shared | own) for own in _DIFFERENT]
    members = [
        Member(config, context(tmp_path / f"together{place}", device, config.random_seed or 0))
        for place, config in enumerate(configs)
    ]
    run_together(members)
    findings.equal(f"{method}: runs that ended well", sum(m.is_over for m in members),
                   len(_DIFFERENT))  # fmt: skip
    rows_apart, weights_apart = 0.0, 0.0
    for place, (member, own) in enumerate(zip(members, _DIFFERENT, strict=True)):
        alone = OnDevice(shared | own, tmp_path / f"alone{place}", device)
        rows = read_json_lines(member.context.folder.metrics)
        rows_apart = largest([rows_apart, *deviation(rows, alone.rows())])
        states = [checkpoint.load(folder.checkpoints / "last.pt")["model"]
                  for folder in (member.context.folder, alone.folder)]  # fmt: skip
        for name, weight in states[1].items():
            apart = (states[0][name] - weight).abs().max() / weight.abs().max()
            weights_apart = largest([weights_apart, float(apart)])
    findings.at_most(f"{method}: metrics, largest relative deviation", rows_apart, 1e-3)
    findings.at_most(f"{method}: weights, largest deviation over the largest weight",
                     weights_apart, 1e-4)  # fmt: skip
