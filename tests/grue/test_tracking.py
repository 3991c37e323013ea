"""What trackers are told, by packages of their names that keep it."""

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

from common.experiment import EXPERIMENTS, Context
from common.plan.load import load_plan
from common.run.folder import RunFolder, read_json_lines
from common.training.tracker import Tracker
from grue.experiments.finetune.config import SupervisedConfig
from grue.experiments.finetune.supervised import SupervisedRun
from tests.conftest import TINY_DIGITS, Workplace, without_seconds
from tests.grue.conftest import save_model, write
from tests.grue.test_finetune import finetuning


class Told(ModuleType):
    """Stands for a package and for its run, and writes down what either is asked to do."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.calls: list[tuple[str, Any]] = []
        self.rows: list[tuple[str, int, dict[str, Any]]] = []
        self.saved: list[tuple[str, str]] = []
        """The run's folder and the file, by name."""
        self.id = ""

    def init(self, **how: Any) -> Told:
        torch.rand(random.randint(1, 3))
        self.calls.append(("init", how))
        folder = how.get("dir")
        self.id = Path(folder).name if folder else how["name"]
        return self

    def log(self, row: dict[str, Any], step: int) -> None:
        self.calls.append(("log", (step, row)))
        self.rows.append((self.id, step, row))

    def Table(self, **how: Any) -> Any:  # noqa: N802
        return how.get("columns"), how.get("data")

    def Artifact(self, name: str, type: str) -> Told:  # noqa: N802  the package's names
        self.calls.append(("artifact", (name, type)))
        return self

    def add_dir(self, folder: str) -> None:
        self.calls.append(("folder", sorted(path.name for path in Path(folder).iterdir())))

    def log_artifact(self, artifact: Told) -> None:
        self.calls.append(("upload", artifact is self))

    def save(self, path: str, base_path: str, policy: str) -> None:
        self.saved.append((Path(base_path).name, Path(path).name))

    def finish(self) -> None:
        self.calls.append(("finish", None))

    def of(self, kind: str) -> list[Any]:
        return [what for name, what in self.calls if name == kind]


def stand_in(name: str, monkeypatch: pytest.MonkeyPatch) -> Told:
    package = Told(name)
    monkeypatch.setitem(sys.modules, name, package)
    return package


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return stand_in("wandb", monkeypatch)


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


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_whatever_a_package_draws_training_does_not_notice(
    package: str, workplace: Workplace, tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    told = stand_in(package, monkeypatch)
    model = save_model(workplace.path / "model", tokenizer)
    plan = write(workplace, finetuning(model, **{f"use_{package}": True}))
    (planned,) = load_plan(plan, EXPERIMENTS).runs
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Tracker(planned.config, RunFolder(workplace.path), "step").begin(lambda row: True)
    assert told.of("init")
    assert torch.equal(torch.rand(3), expected)


class Events(ModuleType):
    """Stands for TensorBoard's writer of events."""

    def __init__(self) -> None:
        super().__init__("torch.utils.tensorboard")
        self.opened: list[tuple[str, int]] = []
        self.scalars: list[tuple[str, float, int]] = []

    def SummaryWriter(self, folder: str, purge_step: int) -> Events:  # noqa: N802
        self.opened.append((Path(folder).name, purge_step))
        return self

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.scalars.append(("closed", 0.0, 0))


def test_text_runs_and_fits_have_the_same_trackers(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb, trackio, events = (
        stand_in("wandb", monkeypatch),
        stand_in("trackio", monkeypatch),
        Events(),
    )
    monkeypatch.setattr("common.packages.is_installed", lambda name: True)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", events)
    keys = {"use_tensorboard": True, "use_wandb": True, "use_trackio": True,
            "wandb_project_name": "p", "wandb_exclude_files": ["log.txt"]}  # fmt: skip
    model = save_model(workplace.path / "model", tokenizer)
    text = finetuning(model, alg__training_args__max_steps=2, no_eval_on_train_set=True, **keys)
    fit = {"experiment": "sft_vs_rft", **TINY_DIGITS, **keys}
    assert workplace.run_plan(write(workplace, text, fit)).status == 0
    for folder in workplace.folders():
        rows = read_json_lines(folder.metrics)
        name = folder.path.name
        for package in (wandb, trackio):
            sent = [row for of_run, _, row in package.rows if of_run == name]
            assert [
                {key: row[key] for key in found} for row, found in zip(sent, rows, strict=True)
            ] == rows
        uploaded = {path for of_run, path in wandb.saved if of_run == name}
        assert {"config.json", "metrics.jsonl", "summary.json"} <= uploaded
        assert "log.txt" not in uploaded
        position = "step" if "step" in rows[0] else "epoch"
        scalars = {
            (key, value, row[position])
            for row in rows for key, value in row.items()
            if key not in ("epoch", "step", "seconds")
        }  # fmt: skip
        assert scalars <= set(events.scalars)
    assert events.opened == [("tensorboard", 0)] * 2
    assert [how["project"] for how in trackio.of("init")] == ["p", "p"]
    assert [how["resume"] for how in trackio.of("init")] == ["allow", "allow"]
    assert [len(package.of("finish")) for package in (wandb, trackio)] == [2, 2]


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
    assert isinstance(planned.config, SupervisedConfig)
    context = Context(RunFolder(workplace.path), seed=1)
    run = SupervisedRun(planned.config, context)
    assert not run.tracker.has_row_of(0)
    run.tracker.add({"epoch": 0.0, "step": 0})
    run.tracker.add({"epoch": 1.0, "step": 3, "loss": 0.5})
    run.tracker.add({"epoch": 1.0, "step": 3, "train/lexical/length": 2.0})
    run.steps_done = 3
    run.tracker.begin(run.keeps_row)
    assert run.tracker.has_row_of(0)
    kept = [{"epoch": 0.0, "step": 0}, {"epoch": 1.0, "step": 3, "loss": 0.5}]
    assert run.tracker.rows() == kept
    run.tracker.close()
