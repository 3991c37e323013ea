"""Data that leave nothing to train on are refused, with counts and what to change."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from grue.supervised.rows import make_rows
from grue.tasks.task import Sample
from tests.conftest import Workplace
from tests.grue import test_classifier as classifier
from tests.grue import test_reward_model as reward_model
from tests.grue.conftest import save_model, write
from tests.grue.parts import ANIMALS, Animals
from tests.grue.test_finetune import finetuning


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def data(path: Path, **row: Any) -> Path:
    """A folder of equal rows."""
    path.mkdir()
    for split, count in (("train", 5), ("val", 2), ("test", 2)):
        rows = [{"prompt": f"the cat {i}", "references": ["runs"], **row} for i in range(count)]
        (path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


FRACTION = {"datapool__frac_train_samples": 0.0001}
DROPPED = {"alg__training_args__dataloader_drop_last": True}


@pytest.mark.parametrize(("keys", "row", "told"), [
    (FRACTION, {}, "'datapool.frac_train_samples' = 0.0001: rounds to none of 5 training samples; "
                   "raise it to 0.2 or more"),
    ({}, {"references": []}, "none of 5 training samples has a reference"),
    (DROPPED, {}, "5 training rows are less than a batch of 'per_device_train_batch_size' = 8"),
])  # fmt: skip
def test_local_data_are_looked_at_before_the_run(
    workplace: Workplace, model: Path, keys: dict[str, Any], row: dict[str, Any], told: str
) -> None:
    local = {"datapool__id": "jsonl", "datapool__args": {"path": str(data(model / "data", **row))}}
    outcome = workplace.run_plan(write(workplace, finetuning(model, **local, **keys)))
    assert outcome.status == 2
    assert outcome.err.count(told) == 1, outcome.err


@pytest.mark.parametrize(("keys", "told"), [
    (FRACTION, "rounds to none of 40 training samples; raise it to 0.025 or more"),
    ({"datapool__args": {"references": False}}, "none of 40 training samples has a reference"),
    (DROPPED | {"alg__training_args__per_device_train_batch_size": 64},
     "40 training rows are less than a batch of 'per_device_train_batch_size' = 64"),
])  # fmt: skip
def test_those_of_the_hub_are_when_the_run_starts(
    workplace: Workplace,
    model: Path,
    keys: dict[str, Any],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Animals, "is_at_hand", lambda self: False)
    keys = {"train_evaluation__metrics": [{"id": "length"}], "datapool__id": ANIMALS} | keys
    assert workplace.run_plan(write(workplace, finetuning(model, **keys))).status == 1
    (folder,) = workplace.folders()
    assert told in folder.read_status()["reason"]


def test_rows_without_a_token_to_learn_are_left_out_and_counted(
    tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    short, long = Sample("a", "the cat", ("runs",)), Sample("b", "the cat " * 40, ("runs",))
    with caplog.at_level(logging.INFO):
        rows = make_rows([short, long], tokenizer, "causal", limit=20, mask_prompt=True)
    assert len(rows) == 1
    assert "1 of 2 rows are left out: they have no token to learn within 20 tokens" in caplog.text
    with pytest.raises(UserError, match="none of the rows of 1 references has a token to learn"):
        make_rows([long], tokenizer, "causal", limit=20, mask_prompt=True)
    assert len(make_rows([long], tokenizer, "causal", limit=20)) == 1
    with pytest.raises(UserError, match="none of 1 training samples has a reference"):
        make_rows([Sample("c", "no answer", ())], tokenizer, "causal", limit=20)


def test_classifiers_and_reward_models_need_a_batch_too(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    few = {"training_args": {"dataloader_drop_last": True, "per_device_train_batch_size": 600}}
    told = "training rows are less than a batch of 'per_device_train_batch_size' = 600"
    base = classifier.save_classifier(tmp_path / "base")
    with pytest.raises(UserError, match=f"60 {told}"):
        classifier.ClassifierRun(
            classifier.config(base, **few), classifier.context(tmp_path / "a")
        ).set_up()
    model = save_model(tmp_path / "model", tokenizer)
    pairs = reward_model.write_data(tmp_path / "pairs", 2)
    with pytest.raises(UserError, match=f"400 {told}"):
        reward_model.run_of(
            tmp_path / "b", reward_model.configuration(model, pairs, "pairwise", alg=few)
        )
