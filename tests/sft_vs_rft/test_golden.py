"""Runs on scikit-learn's digits equal those of the published code, number for number."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from common.experiment import Context
from common.run.folder import RunFolder, read_json, read_json_lines
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.experiment import ControlledExperiment
from tests.conftest import Workplace

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/digits_mlp.json").read_text())
PRETRAIN = "pretrain_multi_label"
CASES = [name for name in GOLDEN if name != "finetune_reinforce_sampled"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """All cases, run as the stages of one plan."""
    import run_plan

    path = tmp_path_factory.mktemp("golden")
    configurations: list[dict[str, Any]] = []
    for name in CASES:
        base = {**GOLDEN[name]["config"], "experiment_name": name, "outputs_dir": str(path)}
        if name != PRETRAIN:
            base["load_model_from_checkpoint"] = f"@{PRETRAIN}.checkpoint"
        configurations.append({"id": name, "base_config": base})
    plan = path / "golden.json"
    plan.write_text(json.dumps({"configurations": configurations}))
    assert run_plan.main(["--plan_config_path", str(plan)]) == 0
    return {name: RunFolder(next((path / "golden").glob(f"{name}-*"))) for name in CASES}


def weights_of(state: dict[str, torch.Tensor]) -> dict[str, float]:
    tensors = [tensor.double() for tensor in state.values()]
    return {
        "l2_norm": math.sqrt(sum(float(tensor.square().sum()) for tensor in tensors)),
        "sum": sum(float(tensor.sum()) for tensor in tensors),
    }


def close(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_data_are_drawn_in_the_published_order(name: str, folders: dict[str, RunFolder]) -> None:
    drawn, expected = read_json(folders[name].path / "data.json"), GOLDEN[name]["data"]
    assert drawn["train_indices"][:10] == expected["used_train_indices"]
    assert sum(drawn["train_indices"]) == expected["used_train_indices_sum"]
    assert drawn["test_indices"][:10] == expected["used_test_indices"]
    assert drawn["label_sets"] == expected["per_class_labels"]
    assert drawn["changed_positions"] == (expected["modified_indices"] or [])
    assert drawn["train_labels"][:20] == expected["train_labels_first_20"]


@pytest.mark.parametrize("name", CASES)
def test_every_metric_of_every_epoch(name: str, folders: dict[str, RunFolder]) -> None:
    rows, expected = read_json_lines(folders[name].metrics), GOLDEN[name]["epochs"]
    assert len(rows) == len(expected)
    for row, golden in zip(rows, expected, strict=True):
        row.pop("seconds")
        assert row == close(golden)


@pytest.mark.parametrize("name", CASES)
def test_initial_and_final_weights(
    name: str, folders: dict[str, RunFolder], workplace: Workplace
) -> None:
    final = torch.load(folders[name].checkpoints / "last.pt", weights_only=True)["model"]
    assert weights_of(final) == close(GOLDEN[name]["final_weights"])

    config = ControlledConfig.model_validate(read_json(folders[name].config))
    anew = ControlledExperiment(config, Context(RunFolder(workplace.path), seed=7))
    initial = anew.make_model(anew.make_data()).state_dict()
    assert weights_of(initial) == close(GOLDEN[name]["initial_weights"])
