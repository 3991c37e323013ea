"""An update's loss is the mean over all its items, in however many batches they come."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

from grue.experiments.classifier import run as classifier
from grue.experiments.reward_model import module as reward_module
from grue.experiments.reward_model.config import BestOfNLoss
from grue.experiments.reward_model.objectives import make_objective
from grue.supervised import trainer as supervised
from grue.supervised.arguments import training_arguments
from grue.supervised.rows import IGNORED, Rows, collate
from tests.grue.conftest import causal_model, encoder_decoder
from tests.grue.fitted import Recorded

SIZES = [(4, 1), (2, 2), (1, 4)]
"""Batch and accumulation of updates of four rows."""


def fitted(
    model: Any, rows: Any, collator: Any, folder: Path, batch_size: int, accumulation: int
) -> tuple[list[float], dict[str, Tensor]]:
    """The losses of two updates, and the weights after them."""
    given = {
        "per_device_train_batch_size": batch_size, "gradient_accumulation_steps": accumulation,
        "max_steps": 2, "logging_steps": 1, "learning_rate": 0.01, "adam_epsilon": 1.0,
        "max_grad_norm": 0.0, "weight_decay": 0.0,
    }  # fmt: skip
    arguments = training_arguments(given, folder, seed=1, device=torch.device("cpu"))
    model, run = copy.deepcopy(model), Recorded()
    supervised.fit(model, rows, collator, arguments, run)
    return [row["loss"] for row in run.rows], model.state_dict()


def assert_equal_columns(
    model: Any, rows: Any, collator: Any, tmp_path: Path, expected: float | None = None
) -> None:
    found = [fitted(model, rows, collator, tmp_path / f"{batch}", batch, accumulation)
             for batch, accumulation in SIZES]  # fmt: skip
    losses, weights = found[0]
    if expected is not None:
        assert losses[0] == pytest.approx(expected, rel=1e-5)
    for other_losses, others in found[1:]:
        assert other_losses == pytest.approx(losses, rel=1e-5)
        for name, weight in weights.items():
            torch.testing.assert_close(others[name], weight, rtol=1e-5, atol=1e-6, msg=name)


def token_rows() -> Rows:
    """Four rows of very different lengths."""
    lengths = [(3, 2), (12, 9), (5, 5), (20, 1)]
    return Rows([
        {"input_ids": list(range(10, 10 + n)), "labels": [IGNORED] * (n - m) + [7] * m}
        for n, m in lengths
    ])  # fmt: skip


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bart"])
def test_language_models(kind: str, tmp_path: Path) -> None:
    model: Any = causal_model(64) if kind == "gpt2" else encoder_decoder(kind, 64)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for name in ("dropout", "attention_dropout", "activation_dropout"):
        for module in model.modules():
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    collator = functools.partial(collate, pad_token=0)
    rows = token_rows()
    batch = collator(rows.rows)
    with torch.no_grad():
        logits = model(**batch).logits
    labels = batch["labels"]
    if kind == "gpt2":
        logits, labels = logits[:, :-1], labels[:, 1:]
    total = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    expected = float(total / (labels != IGNORED).sum())
    assert_equal_columns(model, rows, collator, tmp_path, expected)


def test_classifiers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 32, "hidden_dropout_prob": 0.0,
             "attention_probs_dropout_prob": 0.0}  # fmt: skip
    config = BertConfig(vocab_size=64, num_labels=3, problem_type="single_label_classification",
                        **sizes)  # fmt: skip
    model = BertForSequenceClassification(config)
    rows = [{"input_ids": list(range(10, 10 + n)), "labels": n % 3} for n in (3, 11, 7, 20)]
    collator = functools.partial(classifier.collate, pad_token=0)
    assert_equal_columns(model, rows, collator, tmp_path)


def test_reward_models(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=64, n_positions=64, n_embd=16, n_layer=1, n_head=2, num_labels=1,
        pad_token_id=0, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    model = GPT2ForSequenceClassification(config)
    module = reward_module.RewardModule(model, make_objective(BestOfNLoss(id="best_of_n")))
    rows = [
        {"texts": [{"input_ids": list(range(10, 10 + length)), "attention_mask": [1] * length}
                   for length in (n, n + 4)], "target": n % 2}
        for n in (3, 11, 7, 20)
    ]  # fmt: skip
    collator = functools.partial(reward_module.collate, pad_token=0)
    assert_equal_columns(module, rows, collator, tmp_path)
