"""A tokenizer with ids that the model does not know is refused, wherever the two meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast

from common.errors import UserError
from grue.policies.policy import Policy
from grue.scorers.classifier import Classifier
from tests.conftest import Workplace
from tests.grue.conftest import causal_model, save_model, write
from tests.grue.parts import ANIMALS
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A model without the tokenizer's last id."""
    save_model(tmp_path / "model", tokenizer)
    causal_model(len(tokenizer) - 1).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def message(tokenizer: PreTrainedTokenizerFast) -> str:
    last = len(tokenizer) - 1
    return f"has the ids 0 to {last}, but the model '.*' knows 0 to {last - 1} alone; take"


@pytest.mark.parametrize("make", [extraction, finetuning, reinforcement])
def test_folders_are_looked_at_before_the_run(
    workplace: Workplace, model: Path, make: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    outcome = workplace.run_plan(write(workplace, make(model)))
    assert outcome.status == 2
    assert outcome.err.count(f"has the ids 0 to {len(tokenizer) - 1}, but the model") == 1
    assert not workplace.folders()


@pytest.mark.parametrize("experiment", ["grue_classifier", "reward_model"])
def test_so_are_those_of_models_that_judge(
    workplace: Workplace, model: Path, experiment: str
) -> None:
    loss = {"alg.loss.id": "pairwise"} if experiment == "reward_model" else {}
    run = {"experiment": experiment, "tokenizer.model_name": str(model), "datapool.id": ANIMALS,
           "alg.model_name": str(model), **loss}  # fmt: skip
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    assert outcome.err.count("but the model") == 1, outcome.err


def test_loaded_ones_are_compared_by_the_rows_of_the_embedding(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    size = len(tokenizer)
    Policy(causal_model(size + 3), tokenizer)  # a smaller tokenizer is fine
    with pytest.raises(UserError, match=message(tokenizer)):
        Policy(causal_model(size - 1), tokenizer)
    config = GPT2Config(vocab_size=size - 1, n_embd=8, n_layer=1, n_head=1)
    with pytest.raises(UserError, match=message(tokenizer)):
        Classifier(GPT2ForSequenceClassification(config), tokenizer)
