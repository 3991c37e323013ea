"""Text runs whose files were damaged go on from the last good one, say so, and end equally."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from common.run.folder import RunFolder, write_json
from grue.scorers.loading import check_folder
from tests.common.test_damaged_checkpoints import cut, flip
from tests.common.test_damaged_records import DEEP
from tests.conftest import Workplace, without_seconds
from tests.grue.conftest import save_model, write
from tests.grue.test_finetune import finetuning, weights_of
from tests.grue.test_reinforcement import reinforcement

Damage = Callable[[RunFolder], None]


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


class Run:
    """A run that is done, and is made to look interrupted and damaged again and again."""

    def __init__(self, workplace: Workplace, configuration: dict[str, Any]) -> None:
        self._workplace = workplace
        self._plan = write(workplace, configuration)
        assert workplace.run_plan(self._plan).status == 0
        (self.folder,) = workplace.folders()
        self._whole = workplace.path / "whole"
        shutil.copytree(self.folder.path, self._whole)
        self._rows, self._weights = without_seconds(self.folder), weights_of(self.folder)

    def goes_on_after(self, damage: Damage) -> str:
        """Damages the run, goes on and compares; gives what the console said."""
        shutil.rmtree(self.folder.path)
        shutil.copytree(self._whole, self.folder.path)
        write_json(self.folder.status, {**self.folder.read_status(), "status": "interrupted"})
        damage(self.folder)
        self.folder.log.write_text("")
        outcome = self._workplace.run_plan(self._plan)
        assert outcome.status == 0, outcome.err
        assert without_seconds(self.folder) == self._rows
        weights = weights_of(self.folder)
        assert all(torch.equal(weights[name], self._weights[name]) for name in weights)
        for line in outcome.err.splitlines():
            if "damaged" in line or "lacks" in line:
                assert line.partition("damaged")[2][:60] in self.folder.log.read_text()
        return outcome.err


def loses_a_row(folder: RunFolder) -> None:
    """A row in the middle is no row any more, so that those behind it count for nothing."""
    lines = folder.metrics.read_text().splitlines(keepends=True)
    folder.metrics.write_text("".join([*lines[:2], '{"step": 5}\n', *lines[3:]]))


@pytest.mark.slow
def test_supervised_runs_go_on_from_the_last_good_checkpoint(
    workplace: Workplace, model: Path
) -> None:
    run = Run(workplace, finetuning(model, alg__training_args__save_steps=7,
                                    alg__training_args__save_total_limit=1,
                                    train_evaluation__metrics=[]))  # fmt: skip
    last, before = (run.folder.checkpoints / f"checkpoint-{step}" for step in (20, 14))

    def on_last(change: Callable[[Path], Any], name: str) -> Damage:
        return lambda folder: change(last / name)

    for change, name in (
        (Path.unlink, "optimizer.pt"),
        (flip, "optimizer.pt"),
        (cut, "model.safetensors"),
        (cut, "trainer_state.json"),
        (Path.unlink, "files.json"),
    ):
        said = run.goes_on_after(on_last(change, name))
        assert f"{last.name} is damaged" in said and before.name in said, name
    assert "damaged" not in run.goes_on_after(lambda folder: None)

    def both(folder: RunFolder) -> None:
        for checkpoint in (last, before):
            (checkpoint / "optimizer.pt").unlink()

    said = run.goes_on_after(both)
    assert f"{last.name} is damaged" in said and f"{before.name} is damaged" in said
    assert "starts again" in said
    assert "lacks rows of steps that the last checkpoint has seen (10" in run.goes_on_after(
        loses_a_row
    )


def test_reinforcement_goes_on_from_the_last_good_checkpoint(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECONDS_BETWEEN_CHECKPOINTS", "LEAST_MULTIPLE"):
        monkeypatch.setattr(f"common.training.checkpoint_interval.{name}", 0.0)
    run = Run(workplace, reinforcement(model, train_evaluation__n_iters=2,
                                       train_evaluation__metrics=[]))  # fmt: skip

    def change_state(name: str, change: Callable[[dict[str, Any]], Any]) -> Damage:
        def damage(folder: RunFolder) -> None:
            path = folder.checkpoints / name
            state = torch.load(path, weights_only=True)
            change(state)
            torch.save(state, path)

        return damage

    def lose(key: str) -> Callable[[dict[str, Any]], Any]:
        return lambda state: state.pop(key)

    def narrow(state: dict[str, Any]) -> None:
        name = next(iter(state["weights"]))
        state["weights"][name] = state["weights"][name][:1]

    for damage in (
        lambda folder: cut(folder.checkpoints / "last.pt"),
        change_state("last.pt", lose("iteration")),
        change_state("last.pt", lambda state: state["algorithm"].pop("optimizer")),
        change_state("last.pt", narrow),
    ):
        said = run.goes_on_after(damage)
        assert "last.pt is damaged" in said and "previous.pt" in said

    def both(folder: RunFolder) -> None:
        for name in ("last.pt", "previous.pt"):
            change_state(name, lose("iteration"))(folder)

    said = run.goes_on_after(both)
    assert "last.pt is damaged" in said and "previous.pt is damaged" in said
    assert "starts again" in said
    assert "lacks rows of steps that the last checkpoint has seen (2" in run.goes_on_after(
        loses_a_row
    )


@pytest.mark.parametrize("content", [DEEP, "[]", "3", ""], ids=["deep", "list", "number", "empty"])
def test_a_damaged_configuration_of_a_model_is_named(
    workplace: Workplace, model: Path, content: str
) -> None:
    (model / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"its config\.json cannot be read"):
        check_folder(str(model), "model_name")
    outcome = workplace.run_plan(write(workplace, finetuning(model)))
    assert outcome.status == 2
    assert re.search(r"'alg\.model_name' = '.*: its config\.json cannot be read", outcome.err)


def test_damaged_weights_of_a_model_are_named(workplace: Workplace, model: Path) -> None:
    cut(model / "model.safetensors")
    assert workplace.run_plan(write(workplace, finetuning(model))).status == 1
    (folder,) = workplace.folders()
    assert f"= '{model}': cannot be loaded" in folder.read_status()["reason"]
