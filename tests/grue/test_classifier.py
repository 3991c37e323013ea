"""The classifier experiment: it learns, repeats, resumes, and is a learned reward's model."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from common.config.resolve import resolve
from common.errors import Interrupted, UserError
from common.experiment import Context
from common.run.folder import RunFolder, read_json_lines
from grue import metrics
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.classifier.data import label_names, labelled_texts, labels_of
from grue.experiments.classifier.run import ClassifierRun
from grue.metrics.by_models.learned_reward import LearnedReward
from grue.metrics.metric import NoArgs
from grue.tasks.task import Sample, Split, Task
from tests.conftest import Workplace
from tests.grue.judging import save_classifier, texts

TASK = f"custom:{__name__}:Feelings"


class Feelings(Task[NoArgs]):
    """Texts are of one of two kinds by one word in them."""

    Args = NoArgs

    def samples(self, split: Split) -> list[Sample]:
        draw = random.Random(split)
        words = ["the", "cat", "sat", "on", "mat", "a", "dog", "runs", "in", "park"]
        found = []
        for number in range(60 if split == "train" else 20):
            told = [*draw.choices(words, k=5), "good" if number % 2 else "bad"]
            draw.shuffle(told)
            text = " ".join(told)
            found.append(Sample(f"{split}_{number}", text[:5], (text,), {"label": number % 2}))
        return found


def configuration(model: Path | str, **alg: Any) -> dict[str, Any]:
    return {
        "tokenizer": {"model_name": str(model)},
        "datapool": {"id": TASK},
        "alg": {
            "model_name": str(model),
            "init": "random",
            "architecture": {"num_hidden_layers": 1, "initializer_range": 0.1},
            "training_args": {"learning_rate": 0.01, "num_train_epochs": 6, "logging_steps": 8},
            **alg,
        },
        "random_seed": 3,
    }


def config(model: Path | str, **alg: Any) -> ClassifierConfig:
    found, problems = resolve(ClassifierConfig, configuration(model, **alg))
    assert found is not None, problems
    return found


def context(path: Path, stop: Callable[[], bool] = lambda: False) -> Context:
    path.mkdir(exist_ok=True)
    return Context(RunFolder(path), seed=3, stop_requested=stop)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)  # as in the tests, so that sums are the same
    folder = tmp_path_factory.mktemp("trained")
    assert ClassifierRun(config(base), context(folder)).run() == 1.0
    return folder


def test_it_learns_what_can_be_told_apart(trained: Path) -> None:
    rows = read_json_lines(trained / "metrics.jsonl")
    assert rows[0]["step"] == 0 and rows[0]["val/accuracy"] < 0.8
    assert rows[-1]["val/accuracy"] == 1 and rows[-1]["val/loss"] < 0.1
    assert any("loss" in row for row in rows)


def test_its_model_is_a_learned_reward(trained: Path) -> None:
    kind = metrics.find("learned_reward")
    metric = kind(kind.Args(model_name=str(trained / "model"), label_ix=1,
                            include_prompt_for_eval=False))  # fmt: skip
    metric.prepare()
    (found,) = metric.scores(texts(["a good dog runs", "the cat sat bad"])).values()
    assert found[0] > 0.9 and found[1] < 0.1
    assert "Algorithm: classifier" in (trained / "model" / "README.md").read_text()


def weights(folder: Path) -> dict[str, np.ndarray]:
    found = load_file(folder / "model" / "model.safetensors")
    return {name: value.numpy() for name, value in found.items()}


def test_an_interrupted_run_ends_with_the_weights_and_rows_of_a_whole_one(
    base: Path, trained: Path, tmp_path: Path
) -> None:
    asked = iter(range(1000))
    with pytest.raises(Interrupted, match="step 14 of 48"):
        ClassifierRun(config(base), context(tmp_path, lambda: next(asked) >= 13)).run()
    assert not (tmp_path / "model").exists()
    assert ClassifierRun(config(base), context(tmp_path)).run() == 1.0
    whole, resumed = weights(trained), weights(tmp_path)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)
    kept = [
        [{k: v for k, v in row.items() if "second" not in k} for row in read_json_lines(path)]
        for path in (trained / "metrics.jsonl", tmp_path / "metrics.jsonl")
    ]
    assert kept[0] == kept[1]


def test_pretrained_weights_get_a_new_layer_for_the_labels(tmp_path: Path) -> None:
    model = save_classifier(tmp_path / "three", num_labels=3)
    made = ClassifierRun(
        config(model, init="pretrained", architecture={}), context(tmp_path / "r")
    ).set_up()
    before, after = load_file(model / "model.safetensors"), made.classifier.model.state_dict()
    for name, value in before.items():
        assert after[name].shape == value.shape or name.startswith("classifier."), name
        assert name.startswith("classifier.") or bool((after[name] == value).all()), name
    assert made.classifier.num_labels == 2


@pytest.mark.parametrize("text", ["prompt", "reference", "prompt_and_reference"])
def test_texts_and_labels_of_samples(text: str) -> None:
    samples = [
        Sample("a", "p ", ("r", "s"), {"kind": "z"}),
        Sample("b", "q ", ("t",), {"kind": "y"}),
    ]
    names = label_names(labels_of(samples, "kind"))
    found = labelled_texts(samples, text, "kind", names)
    assert names == ["y", "z"] and found.labels == [1, 0]
    assert list(found.texts) == {"prompt": ["p ", "q "], "reference": ["r", "t"],
                                 "prompt_and_reference": ["p r", "q t"]}[text]  # fmt: skip


def test_labels_that_cannot_be_learned_are_refused() -> None:
    plain = Sample("a", "p", (), {"label": 1, "other": 0.5})
    for key, message in (("lable", r"'a' has the label None.*; its metadata: label, other"),
                         ("other", "has the label 0.5, expected a whole number")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            labels_of([plain], key)
    with pytest.raises(UserError, match="all training texts have the label 1"):
        label_names([1, 1])
    with pytest.raises(UserError, match="some labels are numbers and some are names"):
        label_names([1, "a"])
    assert label_names([2, 0, 2]) == [0, 1, 2]
    with pytest.raises(UserError, match="sample 'a' has no reference; set it to 'prompt'"):
        labelled_texts([plain], "reference", "label", [0, 1])
    with pytest.raises(UserError, match="no training text has the label 1"):
        labelled_texts([plain], "prompt", "label", [0])


def refused(workplace: Workplace, base: Path, **alg: Any) -> str:
    one = {"experiment": "grue_classifier", "base_config": configuration(base, **alg)}
    outcome = workplace.run_plan(workplace.write_plan(configurations=[one]))
    assert outcome.status == 2, outcome
    return outcome.err


def test_wrong_keys_are_told_before_the_run(workplace: Workplace, base: Path) -> None:
    sizes = {"num_hidden_layer": 1}
    assert "'alg.architecture.num_hidden_layer': unknown to bert" in refused(
        workplace, base, architecture=sizes
    )
    assert "'alg.architecture' = {'num_hidden_layers': 1" in refused(
        workplace, base, init="pretrained"
    )
    assert "'alg.training_args.learning_rat' = 1: unknown key" in refused(
        workplace, base, training_args={"learning_rat": 1}
    )


def test_a_plan_trains_a_reward_and_uses_it(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vocabulary, classifier, and samples of a random model that the classifier scores."""
    looked_at = []
    monkeypatch.setattr(LearnedReward, "prepare", lambda self: looked_at.append(self.args))
    vocabulary = {"experiment_name": "v", "datapools": [{"id": TASK}], "vocab_size": 300,
                  "architecture": {"n_layer": 1, "n_embd": 16, "n_head": 2},
                  "max_length": 32, "random_seed": 0}  # fmt: skip
    reward = {"id": "learned_reward", "args": {"model_name": "@classifier.model", "label_ix": 1}}
    sampling = {
        "tokenizer": {"model_name": "@new.model"},
        "datapool": {"id": TASK, "num_train_samples": 4},
        "alg": {"model_type": "causal", "model_name": "@new.model", "policy": {"init": "random"},
                "generation_kwargs": {"do_sample": True, "max_new_tokens": 4}},
        "evaluation": {"eval_batch_size": 4, "num_samples_per_input": 2, "group_sizes": [2],
                       "metrics": [reward]},
        "random_seed": 0,
    }  # fmt: skip
    stages = [
        {"id": "new", "experiment": "grue_new_model", "base_config": vocabulary},
        {"id": "classifier", "experiment": "grue_classifier",
         "base_config": configuration("@new.model", architecture={"n_layer": 2})},
        {"id": "samples", "experiment": "grue_extract", "base_config": sampling},
    ]  # fmt: skip
    outcome = workplace.run_plan(workplace.write_plan(configurations=stages))
    assert outcome.status == 0, outcome
    assert not looked_at  # what an earlier stage makes is not looked for before the plan starts
    (folder,) = (found for found in workplace.folders() if found.table("samples").exists())
    scores = pd.read_parquet(folder.table("samples"))["semantic/learned_automodel_metric"]
    assert len(scores) == 8 and scores.between(0, 1).all() and scores.nunique() > 1
