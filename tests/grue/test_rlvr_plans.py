"""Plans of verifiable rewards: GSM8K by four algorithms, their offline twin, and the remedies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.experiment import EXPERIMENTS
from common.plan.load import load_plan
from tests.conftest import PROJECT, Workplace
from tests.test_command_line import with_few_texts

PLANS = PROJECT / "experiment_plans/rlvr"


def algorithms(name: str) -> dict[str, Any]:
    """The resolved ``alg`` of each run that finetunes by rewards, by its id."""
    runs = load_plan(PLANS / f"{name}.json", EXPERIMENTS).runs
    found = [run.config.model_dump() for run in runs if run.experiment == "grue_finetune"]
    return {of["alg"]["id"]: of["alg"] for of in found if of["env"] is not None}


def test_gsm8k_and_its_twin_are_finetuned_by_the_same_algorithms() -> None:
    hub, twin = algorithms("gsm8k"), algorithms("arithmetic")
    assert list(hub) == list(twin) == ["grpo", "dr_grpo", "dapo", "rloo"]
    for name, alg in hub.items():
        assert alg["policy"]["args"]["model_name"] == "Qwen/Qwen2.5-0.5B-Instruct"
        assert alg["policy"]["lora"]["r"] == 32 and alg["policy"]["mixed_precision"] == "bf16"
        for key in ("advantage", "advantage_scale", "policy_loss", "aggregate", "zero_std_groups"):
            assert alg["args"][key] == twin[name]["args"][key]


def of_figure(outcome: Any) -> pd.DataFrame:
    """The numbers of the silent groups that a plan has drawn, of all its figures."""
    written = [Path(line.strip()) for line in outcome.out.splitlines() if line.endswith(".csv")]
    return pd.concat([pd.read_csv(path) for path in written if "silent_groups" in path.name])


def test_the_twin_runs_shrunk_and_draws_its_groups(workplace: Workplace) -> None:
    outcome = workplace.run_plan(with_few_texts(PLANS / "arithmetic.json", workplace))
    assert outcome.status == 0, outcome.err
    table = of_figure(outcome)
    assert table["line"].unique().tolist() == ["grpo", "dr_grpo", "dapo", "rloo"]
    assert set(table["quantity"]) == {"all wrong", "mixed", "all right", "accuracy", "pass@8"}
    assert (table["labels"] == 0).all()


@pytest.mark.slow
def test_every_remedy_runs_shrunk_and_labels_are_told(workplace: Workplace) -> None:
    outcome = workplace.run_plan(with_few_texts(PLANS / "remedies.json", workplace))
    assert outcome.status == 0, outcome.err
    labels = of_figure(outcome).groupby("line")["labels"].first()
    assert labels[labels > 0].to_dict() == {
        "after_labels_1, 40 labels": 40,
        "after_labels_5, 50 labels": 50,
        "sft_coeff, 50 labels": 50,
    }
    names = {
        run.config.experiment_name for run in load_plan(PLANS / "remedies.json", EXPERIMENTS).runs
    }
    stages = {"vocabulary", "pretrain", "easy", "labels_1", "labels_5"}
    left_out = {"hint", "drop", "draw_until_balanced", "signs_positive_0.0"}
    assert {name.partition(",")[0] for name in labels.index} == names - stages - left_out
