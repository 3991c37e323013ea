"""What Weights & Biases is told, by a package of its name that keeps it."""

from __future__ import annotations

import random
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.experiment import EXPERIMENTS
from common.plan.load import load_plan
from common.run.folder import RunFolder
from grue.experiments.finetune.config import FinetuneConfig
from grue.runs.tracking import Tracker
from tests.conftest import Workplace, without_seconds
from tests.grue.conftest import save_model, write
from tests.grue.test_finetune import finetuning


class Told(ModuleType):
    """Stands for the package and for its run, and writes down what either is asked to do."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None)
        self.calls: list[tuple[str, Any]] = []

    def init(self, **how: Any) -> Told:
        torch.rand(random.randint(1, 3))
        self.calls.append(("init", how))
        return self

    def log(self, row: dict[str, Any], step: int) -> None:
        self.calls.append(("log", (step, row)))

    def Table(self, columns: list[str], data: list[list[Any]]) -> Any:  # noqa: N802
        return columns, data

    def Artifact(self, name: str, type: str) -> Told:  # noqa: N802  the package's names
        self.calls.append(("artifact", (name, type)))
        return self

    def add_dir(self, folder: str) -> None:
        self.calls.append(("folder", sorted(path.name for path in Path(folder).iterdir())))

    def log_artifact(self, artifact: Told) -> None:
        self.calls.append(("upload", artifact is self))

    def finish(self) -> None:
        self.calls.append(("finish", None))

    def of(self, kind: str) -> list[Any]:
        return [what for name, what in self.calls if name == kind]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    package = Told()
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def run(workplace: Workplace, tokenizer: PreTrainedTokenizerFast, **keys: Any) -> list[Any]:
    model = save_model(workplace.path / "model", tokenizer)
    keys = {"alg__training_args__max_steps": 2, "no_eval_on_train_set": True, **keys}
    outcome = workplace.run_plan(write(workplace, finetuning(model, **keys)))
    assert outcome.status == 0, outcome.err
    (folder,) = workplace.folders()
    return without_seconds(folder)


def test_metrics_and_the_model_are_sent(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, told: Told
) -> None:
    rows = run(workplace, tokenizer, log_to_wandb=True, upload_model_to_wandb=True,
               project_name="texts", entity_name="us", tags=["first", "small"],
               log_entire_predictions=True)  # fmt: skip
    (how,) = told.of("init")
    assert (how["project"], how["entity"], how["name"]) == ("texts", "us", "sft")
    assert how["config"]["alg"]["training_args"]["max_steps"] == 2
    assert how["tags"] == ["first", "small"]
    assert [step for step, _ in told.of("log")] == [row["step"] for row in rows]
    tables = {name: value for _, row in told.of("log") for name, value in row.items()
              if "predictions" in name}  # fmt: skip
    columns, data = tables["val_predictions_at_epoch_0"]
    assert columns[:2] == ["split_name", "sample_id"] and columns[-1] == "lexical/overlap"
    assert len(data) == 8 and all(isinstance(values[-1], float) for values in data)
    assert {name.partition("_predictions_at_")[0] for name in tables} == {"val", "test"}
    (files,) = told.of("folder")
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(files)
    assert told.of("upload") == [True]
    assert told.calls[-1] == ("finish", None)


def test_whatever_the_package_draws_training_does_not_notice(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, told: Told
) -> None:
    model = save_model(workplace.path / "model", tokenizer)
    plan = write(workplace, finetuning(model, log_to_wandb=True))
    (planned,) = load_plan(plan, EXPERIMENTS).runs
    assert isinstance(planned.config, FinetuneConfig)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Tracker(planned.config, RunFolder(workplace.path / "run")).begin(0)
    assert told.of("init")
    assert torch.equal(torch.rand(3), expected)


def test_the_model_stays_here_unless_it_is_asked_for(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, told: Told
) -> None:
    sent = run(workplace, tokenizer, log_to_wandb=True)
    assert told.of("init")
    assert not told.of("upload")
    outcome = workplace.run("--plan_config_path", "plan.json", "--fresh",
                            "--set", "log_to_wandb=false")  # fmt: skip
    assert outcome.status == 0
    assert len(told.of("init")) == 1
    (folder,) = workplace.folders()
    assert without_seconds(folder) == sent


def test_a_continued_run_has_its_first_row_and_not_its_last_evaluation(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Neither row has a metric of validation; the last one has none of the test split."""
    model = save_model(workplace.path / "model", tokenizer)
    (planned,) = load_plan(write(workplace, finetuning(model)), EXPERIMENTS).runs
    assert isinstance(planned.config, FinetuneConfig)
    folder = RunFolder(workplace.path)
    tracker = Tracker(planned.config, folder)
    assert not tracker.has_start()
    tracker.add(0, 0.0, {})
    tracker.add(3, 1.0, {"loss": 0.5})
    tracker.add(3, 1.0, {"train/lexical/length": 2.0})
    tracker.begin(3)
    assert tracker.has_start()
    assert tracker.rows() == [{"epoch": 0.0, "step": 0}, {"epoch": 1.0, "step": 3, "loss": 0.5}]
