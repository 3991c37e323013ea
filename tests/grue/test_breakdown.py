"""Several outputs per evaluated input: pass@k, and metrics by groups of inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from common.run.folder import RunFolder, read_json
from grue.metrics.answers.exact_answer import ExactAnswer, ExactAnswerArgs
from grue.metrics.length import Length
from grue.metrics.metric import Metric, NoArgs, Scores
from grue.runs.breakdown import asks_for_scores, breakdown
from grue.texts import Texts
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.made_texts import made_texts
from tests.grue.parts import OVERLAP
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import SAMPLED, reinforcement, rows_of

EVEN_LENGTH = "custom:tests.grue.test_breakdown:EvenLength"
K = 4


class EvenLength(Metric[NoArgs]):
    """1 for an output whose length is even; some of a random model's are, and some are not."""

    largest: ClassVar[Mapping[str, float]] = {"made/even": 1.0}

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        return {"made/even": np.array([float(len(output) % 2 == 0) for output in texts.outputs])}


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def share_with_right(right: np.ndarray, k: int) -> float:
    """The mean share of the groups of k of each row that have a right one."""
    return float(np.mean([[any(of) for of in combinations(row, k)] for row in right]))


def test_pass_at_k_and_groups_are_those_of_all_groups_of_outputs() -> None:
    outputs = ["7", "1", "1", "2", *"7777", "3", "3", "7", "7"]
    levels = [level for level in (1, 2, 1) for _ in range(K)]
    texts = made_texts(outputs, [["7"]] * 12, [{"difficulty": level} for level in levels])
    metric = ExactAnswer(ExactAnswerArgs())
    right = np.array([output == "7" for output in outputs]).reshape(3, K)
    scores = metric.scores(texts)
    found = breakdown(metric, scores, texts.metadata, num_samples=K, group_by="difficulty")
    for k in (1, 2, 4):
        name = f"answer/accuracy/pass_at_k/{k}"
        assert found[name] == pytest.approx(share_with_right(right, k))
        assert found[f"{name}_at_difficulty_1"] == pytest.approx(share_with_right(right[[0, 2]], k))
        assert found[f"{name}_at_difficulty_2"] == 1
    assert found["answer/accuracy_at_difficulty_1"] == 3 / 8
    assert found["answer/given_at_difficulty_2"] == 1
    assert not [name for name in found if "given/pass" in name or "agreement/pass" in name]
    assert (
        found.items()
        >= {name: value for name, value in metric.corpus(texts).items() if "_at_" in name}.items()
    )


@pytest.mark.parametrize(("score", "is_right"), [(1 - 1e-7, 1), (1 - 5e-6, 0), (1.5, 1)])
def test_an_output_is_right_by_the_rule_of_rollouts(score: float, is_right: int) -> None:
    metric, texts = EvenLength(NoArgs()), made_texts(["a", "b"], [[]] * 2, [{}, {}])
    scores = {"made/even": np.array([0.0, score])}
    found = breakdown(metric, scores, texts.metadata, num_samples=2, group_by=None)
    assert found["made/even/pass_at_k/2"] == is_right


def test_one_output_per_input_without_groups_has_nothing_more() -> None:
    metric = ExactAnswer(ExactAnswerArgs())
    texts = made_texts(["7", "8"], [["7"]] * 2, [{"kind": "a"}, {}])
    assert not asks_for_scores(metric, num_samples=1, group_by=None)
    assert asks_for_scores(metric, num_samples=2, group_by=None)
    assert not asks_for_scores(Length(NoArgs()), num_samples=2, group_by=None)
    scores = metric.scores(texts)
    found = breakdown(metric, scores, texts.metadata, num_samples=1, group_by="kind")
    assert found["answer/accuracy_at_kind_a"] == 1
    assert not [name for name in found if "None" in name or "pass_at_k" in name]


def several(**changes: Any) -> dict[str, Any]:
    keys = {"num_samples_per_input": K, "group_by": "animal", "generation_kwargs": SAMPLED,
            "metrics": [{"id": EVEN_LENGTH}, {"id": OVERLAP}]}  # fmt: skip
    return {f"train_evaluation__{key}": value for key, value in (keys | changes).items()} | {
        "log_entire_predictions": True,
        "no_eval_on_train_set": True,
    }


def predictions(folder: RunFolder, label: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]]
    found = json.loads((folder.path / f"{label}_val_split_predictions.json").read_text())
    return found


def test_runs_of_all_kinds_draw_several_outputs_of_each_evaluated_input(
    workplace: Workplace, model: Path
) -> None:
    short = {"train_evaluation__n_iters": 1, "train_evaluation__eval_every": 1}
    of_grpo = {"env__n_envs": 2, "alg__args__num_samples_per_input": 2}
    sft = {"alg__training_args__max_steps": 1}
    one = several(num_samples_per_input=1, group_by=None)
    runs = [
        reinforcement(model, "grpo", **short, **of_grpo, **several()),
        finetuning(model, **sft, **several()),
        finetuning(model, experiment_name="single", **sft, **one),
    ]
    assert workplace.run_plan(write(workplace, *runs)).status == 0
    grpo, sft_folder, single = workplace.folders()
    for folder in (grpo, sft_folder):
        row = rows_of(folder)[0]
        label = "before_training" if folder is grpo else "epoch_0"
        records = predictions(folder, label)
        assert [record["sample_id"] for record in records] == [
            f"val_{i}" for i in range(8) for _ in range(K)
        ]
        even = np.array([record["made/even"] for record in records]).reshape(8, K)
        assert 0 < even.mean() < 1
        assert row["val/made/even"] == pytest.approx(even.mean())
        for k in (1, 2, 4):
            assert row[f"val/made/even/pass_at_k/{k}"] == pytest.approx(share_with_right(even, k))
        of_cats = even[[0, 5]]  # five animals in turn
        assert row["val/made/even_at_animal_cat"] == of_cats.mean()
        assert row["val/made/even/pass_at_k/2_at_animal_cat"] == pytest.approx(
            share_with_right(of_cats, 2)
        )
        assert "val/lexical/overlap_at_animal_dog" in row
        assert not [name for name in row if "overlap/pass" in name]
    of_rollout = rows_of(grpo)[1]
    counts = {name: of_rollout[name] for name in of_rollout if "/count_at_animal_" in name}
    assert sum(counts.values()) == of_grpo["env__n_envs"]
    assert {name.replace("count", "mixed") for name in counts} <= of_rollout.keys()
    first = [record["generated_text"] for record in predictions(single, "epoch_0")]
    every = [record["generated_text"] for record in predictions(sft_folder, "epoch_0")]
    assert first == every[::K]  # the streams of an input's first output are the same
    assert not [name for name in rows_of(single)[0] if "pass_at_k" in name or "_at_" in name]


def test_an_extraction_of_held_out_inputs_by_groups(workplace: Workplace, model: Path) -> None:
    run = extraction(model, evaluation__split="val", evaluation__group_by="animal",
                     evaluation__metrics=[{"id": EVEN_LENGTH}])  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    stats = read_json(folder.path / "reward_stats.json")
    assert stats["metrics"]["made/even"]["num_inputs"] == 8
    assert {name: of["made/even"]["num_inputs"] for name, of in stats["groups"].items()} == {
        "cat": 2, "cow": 2, "dog": 2, "fox": 1, "hen": 1,
    }  # fmt: skip
    pass_at = [of["made/even"]["pass_at_k"]["2"] for of in stats["groups"].values()]
    weights = [of["made/even"]["num_inputs"] for of in stats["groups"].values()]
    whole = stats["metrics"]["made/even"]["pass_at_k"]["2"]
    assert np.average(pass_at, weights=weights) == pytest.approx(whole)


def test_what_cannot_be_told_is_said_before_the_run(workplace: Workplace, model: Path) -> None:
    runs = [
        finetuning(model, **several(generation_kwargs={"max_new_tokens": 4})),
        extraction(model, evaluation__split="test", published_format=True),
    ]
    outcome = workplace.run_plan(write(workplace, *runs))
    assert outcome.status != 0
    assert "'train_evaluation.num_samples_per_input' = 4: without sampling" in outcome.err
    assert "'evaluation.split' = 'test': the published dictionary" in outcome.err


def test_groups_that_no_input_has_are_said_before_the_run(
    workplace: Workplace, model: Path
) -> None:
    runs = [
        reinforcement(model, **several(group_by="difficulty")),
        extraction(model, evaluation__group_by="level"),
    ]
    outcome = workplace.run_plan(write(workplace, *runs))
    assert outcome.status != 0
    said = "'train_evaluation.group_by' = 'difficulty': no input of the split 'val' has it; "
    assert said + "they have animal" in outcome.err
    assert "'evaluation.group_by' = 'level': no input of the split 'train'" in outcome.err
    assert not workplace.folders()
