"""Rows that were lost, as when the power was cut, are not replaced by wrong ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from common.run.folder import RunFolder
from common.training.tracker import Tracker
from tests.conftest import Workplace, without_seconds
from tests.grue import test_classifier as classifier
from tests.grue.conftest import save_model, write
from tests.grue.parts import SIGNALLING
from tests.grue.stopping import assert_equal_models
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

ANEW = "lacks rows of steps that the last checkpoint has seen (0"


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


@pytest.mark.parametrize("make", [finetuning, pytest.param(reinforcement, marks=pytest.mark.slow)])
def test_a_run_without_its_first_row_begins_anew(
    workplace: Workplace, model: Path, make: Any
) -> None:
    runs = []
    for name in ("lost", "whole"):
        args = {"marker": str(workplace.path / name), "signal": "SIGINT", "calls": 3}
        metrics = [{"id": SIGNALLING, "args": args}]
        runs.append(make(model, experiment_name=name, train_evaluation__metrics=metrics))
    (workplace.path / "whole").touch()  # this one is never stopped
    plan = write(workplace, *runs)
    assert workplace.run_plan(plan).status == 130
    lost = workplace.folders()[0]
    assert any(lost.checkpoints.iterdir())
    lost.metrics.unlink()
    assert workplace.run_plan(plan).status == 0
    lost, whole = workplace.folders()
    assert lost.log.read_text().count(ANEW) == 1
    assert ANEW not in whole.log.read_text()
    assert without_seconds(lost) == without_seconds(whole)
    assert_equal_models(lost, whole)


def test_a_run_without_metrics_goes_on_where_it_was(workplace: Workplace, model: Path) -> None:
    run = reinforcement(model, "reinforce", train_evaluation__metrics=[],
                        train_evaluation__n_iters=2)  # fmt: skip
    plan = write(workplace, run)
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    rows = without_seconds(folder)
    assert workplace.run_plan(plan, "--retry_failed").status == 0
    (folder.path / "status.json").write_text(
        folder.status.read_text().replace('"done"', '"interrupted"')
    )
    assert workplace.run_plan(plan).status == 0
    assert without_seconds(folder) == rows
    assert ANEW not in folder.log.read_text()


def test_a_classifier_begins_anew_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = classifier.save_classifier(tmp_path / "base")
    config, context = classifier.config(base), classifier.context(tmp_path / "run")
    score = classifier.ClassifierRun(config, context).run()
    rows = without_seconds(context.folder)
    context.folder.metrics.unlink()
    assert classifier.ClassifierRun(config, context).run() == score
    assert without_seconds(context.folder) == rows
    assert caplog.text.count(ANEW) == 1


def test_a_row_is_on_the_disk_before_anything_counts_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = classifier.config("none")
    folder, synced = RunFolder(tmp_path), []

    def sync(number: int) -> None:
        synced.append((Path(f"/proc/self/fd/{number}").resolve(), os.fstat(number).st_size))

    monkeypatch.setattr("os.fsync", sync)
    tracker = Tracker(config, folder, "step")
    tracker.add({"epoch": 0.0, "step": 0, "val/accuracy": 0.5})
    tracker.sync()  # as before each checkpoint
    assert synced[0] == (folder.metrics, folder.metrics.stat().st_size)
    assert synced[1][0] == folder.path
    tracker.close()
