"""The reward that a run trains on, measured in its evaluations."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from common.run.folder import read_json, read_json_lines
from grue.metrics.metric import NoArgs
from grue.texts import Texts
from tests.conftest import Workplace, without_seconds
from tests.grue.conftest import save_model, write
from tests.grue.parts import Letters
from tests.grue.test_reinforcement import reinforcement


def test_evaluations_measure_the_reward_and_change_nothing_else(
    workplace: Workplace, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = save_model(tmp_path / "model", tokenizer)
    short = {"train_evaluation__n_iters": 2, "train_evaluation__eval_every": 1,
             "log_entire_predictions": True, "alg__args__num_samples_per_input": 2}  # fmt: skip
    rows = []
    for asked in (False, True):
        keys = reinforcement(model, "reinforce", **short, experiment_name=f"asked {asked}")
        plan = write(workplace, keys | {"train_evaluation.measure_reward": asked})
        assert workplace.run_plan(plan).status == 0
        (folder,) = [f for f in workplace.folders() if f"{asked}" in f.path.name]
        kept = without_seconds(folder)
        rows.append([row | {"val/reward": 0, "test/reward": 0} for row in kept])
    assert rows[0] == rows[1]

    before = next(row for row in read_json_lines(folder.metrics) if "val/reward" in row)
    said = read_json(folder.path / "before_training_val_split_predictions.json")
    outputs = [record["generated_text"] for record in said]
    count = len(outputs)
    expected = Letters(NoArgs())(Texts([""] * count, outputs, [[]] * count, [{}] * count))
    assert before["val/reward"] == pytest.approx(expected.mean())
    assert [record["reward"] for record in said] == pytest.approx(expected.tolist())
