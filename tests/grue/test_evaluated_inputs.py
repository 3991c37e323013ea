"""How many inputs evaluations have, and what a run says of the time they take."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from common.run.folder import RunFolder
from grue.runs import evaluation_times
from grue.tasks.config import DatapoolConfig
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.parts import ANIMALS
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

FEW = {
    "datapool__num_train_samples": 20,
    "datapool__num_evaluated_train_samples": 6,
    "datapool__num_val_samples": 5,
    "datapool__num_test_samples": 3,
    "log_entire_predictions": True,
}


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def evaluated(folder: RunFolder, label: str) -> dict[str, list[str]]:
    """The ids of the inputs in a moment's files of predictions, by split."""
    found = {}
    for split in ("train", "val", "test"):
        path = folder.path / f"{label}_{split}_split_predictions.json"
        found[split] = [record["sample_id"] for record in json.loads(path.read_text())]
    return found


def short_runs(model: Path, **changes: Any) -> list[dict[str, Any]]:
    """One supervised run of 6 updates and one of reinforcement of 4 iterations."""
    return [
        finetuning(model, alg__training_args__max_steps=6, alg__training_args__logging_steps=2,
                   **changes),
        reinforcement(model, train_evaluation__n_iters=4, train_evaluation__eval_every=2,
                      no_eval_on_train_set=False, **changes),
    ]  # fmt: skip


def test_the_inputs_of_every_evaluation_can_be_fewer_and_what_is_left_of_them_is_said(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_times, "LONG", 0.0)
    outcome = workplace.run_plan(write(workplace, *short_runs(model, **FEW)))
    assert outcome.status == 0
    ppo, sft = workplace.folders()
    for folder, last in ((ppo, "epoch_3"), (sft, "epoch_2")):
        first = evaluated(folder, "epoch_0")
        assert {split: len(ids) for split, ids in first.items()} == {
            "train": 6,
            "val": 5,
            "test": 3,
        }
        assert evaluated(folder, last) == first
        assert first["val"] != [f"val_{i}" for i in range(5)]  # drawn, not the first ones
        log = folder.log.read_text()
        assert "inputs of each evaluation: 6 of 'train', 5 of 'val', 3 of 'test'" in log
        summary = json.loads(folder.summary.read_text())
        assert summary["num_inputs"] == {"train": 6, "val": 5, "test": 3}
    for count in (2, 3):  # ppo evaluates once on the way, sft twice, and both at the end
        rest = f"1 x 6 inputs of 'train', {count} x 5 inputs of 'val', 1 x 3 inputs of 'test'"
        assert rest in outcome.err
    assert re.search(r"take about 0:00:\d\d .*'num_val_samples'.* of 'datapool'", outcome.err)


def test_predictions_before_training_stay_beside_those_after_the_first_iteration(
    workplace: Workplace, model: Path
) -> None:
    run = reinforcement(model, train_evaluation__n_iters=1, alg__args__learning_rate=0.1,
                        log_entire_predictions=True, no_eval_on_train_set=False)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    assert evaluated(folder, "before_training") == evaluated(folder, "epoch_0")
    before, after = (
        (folder.path / f"{label}_val_split_predictions.json").read_text()
        for label in ("before_training", "epoch_0")
    )
    assert before != after


def test_fewer_inputs_than_asked_for_are_told_once(workplace: Workplace, model: Path) -> None:
    run = finetuning(model, datapool__num_train_samples=50, datapool__num_val_samples=9,
                     datapool__num_test_samples=4, alg__training_args__max_steps=1)  # fmt: skip
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 0
    for key, asked, count in (("train", 50, 40), ("val", 9, 8)):
        said = f"'datapool.num_{key}_samples' = {asked}: there are only {count}; all are used"
        assert outcome.err.count(said) == 1
    assert "num_test_samples" not in outcome.err


def test_runs_made_before_there_were_numbers_of_evaluated_inputs_stay_the_same() -> None:
    assert set(DatapoolConfig(id=ANIMALS).identity()) == {
        "id", "args", "frac_train_samples", "num_train_samples", "train_samples_rnd_seed"
    }  # fmt: skip
    for key in ("num_val_samples", "num_test_samples", "num_evaluated_train_samples"):
        assert DatapoolConfig(**{"id": ANIMALS, key: 3}).identity()[key] == 3
