"""Supervised finetuning: it learns, is evaluated at its moments, and goes on with equal results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from common.run.folder import RunFolder, read_json_lines
from tests.conftest import Workplace, without_seconds
from tests.grue.conftest import encoder_decoder, save_model, write
from tests.grue.parts import ANIMALS, OVERLAP, SIGNALLING

GREEDY = {"max_new_tokens": 8}


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def finetuning(model: Path, **changes: Any) -> dict[str, Any]:
    """A configuration; keys of ``changes`` are dotted paths with ``__`` for the dot."""
    base: dict[str, Any] = {
        "experiment": "grue_finetune",
        "experiment_name": "sft",
        "random_seed": 5,
        "tokenizer.model_name": str(model),
        "datapool.id": ANIMALS,
        "alg.id": "supervised",
        "alg.model_type": "causal",
        "alg.model_name": str(model),
        "alg.training_args.per_device_train_batch_size": 8,
        "alg.training_args.num_train_epochs": 4,
        "alg.training_args.learning_rate": 0.003,
        "alg.training_args.logging_steps": 5,
        "train_evaluation.eval_batch_size": 8,
        "train_evaluation.metrics": [{"id": OVERLAP}],
        "train_evaluation.generation_kwargs": GREEDY,
    }
    return base | {key.replace("__", "."): value for key, value in changes.items()}


def rows_of(folder: RunFolder) -> list[dict[str, Any]]:
    return read_json_lines(folder.metrics)


def weights_of(folder: RunFolder) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder.path / "model").state_dict()


def assert_equal_runs(one: RunFolder, other: RunFolder) -> None:
    assert without_seconds(one) == without_seconds(other)
    ours, theirs = weights_of(one), weights_of(other)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_model_learns_and_is_evaluated_at_its_moments(workplace: Workplace, model: Path) -> None:
    assert workplace.run_plan(write(workplace, finetuning(model))).status == 0
    (folder,) = workplace.folders()
    rows = rows_of(folder)
    assert [row["step"] for row in rows] == [0, 5, 10, 15, 20, 20]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4, 4]
    for row in (rows[0], rows[-1]):
        assert {"train/lexical/overlap", "val/lexical/overlap", "test/lexical/overlap"} <= set(row)
    for row in rows[1:4]:
        assert {"loss", "val/lexical/overlap"} <= set(row)
        assert "test/lexical/overlap" not in row
    assert rows[4]["loss"] < rows[1]["loss"] * 0.8
    assert rows[-1]["val/lexical/overlap"] > rows[0]["val/lexical/overlap"]
    summary = json.loads(folder.summary.read_text())
    assert summary["score"] == rows[-1]["val/lexical/overlap"]
    assert summary["score_metric_name"] == "val/lexical/overlap"
    assert "| val/lexical/overlap |" in (folder.path / "model/README.md").read_text()


def test_the_training_split_may_be_left_out_of_evaluations(
    workplace: Workplace, model: Path
) -> None:
    run = finetuning(model, no_eval_on_train_set=True, alg__training_args__max_steps=2,
                     log_entire_predictions=True)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    assert not any(name.startswith("train/") for row in rows_of(folder) for name in row)
    assert rows_of(folder)[-1]["step"] == 2
    names = sorted(path.name for path in folder.path.glob("*_predictions.json"))
    moments = ["0.4_test", "0.4_val", "0_test", "0_val"]
    assert names == [f"epoch_{moment}_split_predictions.json" for moment in moments]
    records = json.loads((folder.path / names[0]).read_text())
    assert list(records[0]) == ["split_name", "sample_id", "prompt_text", "generated_text",
                                "ref_text", "lexical/overlap"]  # fmt: skip
    assert records[0]["ref_text"] == "<START-1>the cat runs<END-1>"


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["SIGINT", "SIGKILL"])
def test_a_stopped_run_ends_with_equal_results(
    workplace: Workplace, model: Path, signal: str
) -> None:
    runs = []
    for name in ("stopped", "whole"):
        args = {"marker": str(workplace.path / name), "signal": signal, "calls": 4}
        metrics = [{"id": SIGNALLING, "args": args}]
        runs.append(finetuning(model, experiment_name=name, train_evaluation__metrics=metrics,
                               alg__training_args__save_steps=7))  # fmt: skip
    (workplace.path / "whole").touch()  # this one is never stopped
    killed = {"multiprocess": True, "num_parallel": 1} if signal == "SIGKILL" else {}
    plan = write(workplace, *runs, **killed)
    status = workplace.run_plan(plan).status
    if signal == "SIGINT":
        assert status == 130
        (folder, *_) = workplace.folders()
        assert folder.read_status()["status"] == "interrupted"
        assert (folder.checkpoints / "checkpoint-11").exists()
        status = workplace.run_plan(plan).status
    assert status == 0
    stopped, whole = workplace.folders()
    assert stopped.read_status()["attempt"] == 2
    assert_equal_runs(stopped, whole)


def test_a_stage_goes_on_from_the_model_of_another(workplace: Workplace, model: Path) -> None:
    first = {**finetuning(model, alg__training_args__max_steps=3)}
    second = finetuning(model, alg__training_args__max_steps=1,
                        alg__training_args__learning_rate=1e-12, experiment_name="more",
                        alg__model_name="@sft.model",
                        tokenizer__model_name="@sft.model")  # fmt: skip
    plan = write(workplace, {**first, "id": "sft"}, second)
    assert workplace.run_plan(plan).status == 0
    more, sft = workplace.folders()
    ours, theirs = weights_of(more), weights_of(sft)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-8)
    tokenizer = AutoTokenizer.from_pretrained(sft.path / "model")
    assert (
        tokenizer("the cat")["input_ids"]
        == AutoTokenizer.from_pretrained(model)("the cat")["input_ids"]
    )


def test_adapters_are_trained_alone_and_merged_in_the_end(
    workplace: Workplace, model: Path
) -> None:
    run = finetuning(model, alg__policy__lora={"r": 4, "target_modules": ["c_attn"]},
                     alg__training_args__learning_rate=0.02)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    rows = rows_of(folder)
    assert rows[4]["loss"] < rows[1]["loss"]
    before = AutoModelForCausalLM.from_pretrained(model).state_dict()
    changed = {name for name, tensor in weights_of(folder).items()
               if not torch.equal(tensor, before[name])}  # fmt: skip
    assert changed == {f"transformer.h.{i}.attn.c_attn.weight" for i in (0, 1)}


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_an_encoder_decoder_learns_too(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, kind: str
) -> None:
    folder = workplace.path / kind
    encoder_decoder(kind, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    run = finetuning(folder, alg__model_type="seq2seq")
    assert workplace.run_plan(write(workplace, run)).status == 0
    (made,) = workplace.folders()
    rows = rows_of(made)
    assert rows[4]["loss"] < rows[1]["loss"] * 0.8
    assert AutoModelForSeq2SeqLM.from_pretrained(made.path / "model") is not None


def test_a_share_of_the_labelled_samples_makes_as_many_steps(
    workplace: Workplace, model: Path
) -> None:
    run = finetuning(model, datapool__frac_train_samples=0.5)
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    assert rows_of(folder)[-1]["step"] == 4 * 3  # 20 samples in batches of 8


def test_random_weights_start_where_they_are_asked_for(workplace: Workplace, model: Path) -> None:
    for weights in model.glob("*.safetensors"):
        weights.unlink()
    run = finetuning(model, alg__training_args__max_steps=1)
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    assert "holds no weights; set alg.policy.init=random" in outcome.err
    plan = write(workplace, run | {"alg.policy.init": "random"})
    assert workplace.run_plan(plan).status == 0
    first = weights_of(workplace.folders()[0])
    assert workplace.run_plan(plan, "--fresh").status == 0
    again = weights_of(workplace.folders()[0])
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg__training_args": {"learning_rat": 1}}, "alg.training_args.*learning_rat"),
        ({"alg__training_args": {"lr_scheduler_type": "bent"}}, "alg.training_args.*bent"),
        ({"alg__training_args": {"tf32": "no"}},
         "alg.training_args.tf32' = 'no': expected true or false"),
        ({"train_evaluation__metrics": [{"id": OVERLAP, "args": {"kee": 1}}]},
         r"train_evaluation.metrics.0..args.kee' = 1: unknown key; did you mean"),
        ({"alg__id": "pppo"}, "alg"),
        ({"datapool__frac_train_samples": 1.5}, "frac_train_samples"),
        ({"tokenizer__model_name": "_"}, "--set tokenizer.model_name="),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_before_anything_is_written(
    workplace: Workplace, model: Path, changes: dict[str, Any], message: str
) -> None:
    before = workplace.files()
    outcome = workplace.run_plan(write(workplace, finetuning(model, **changes)))
    assert outcome.status == 2
    assert re.search(message, outcome.err), outcome.err
    assert workplace.files() == before


def test_a_loss_that_is_not_finite_fails_the_run(workplace: Workplace, model: Path) -> None:
    run = finetuning(model, alg__training_args__learning_rate=1e30,
                     alg__training_args__max_grad_norm=0.0)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 1
    (folder,) = workplace.folders()
    assert "lower 'alg.training_args.learning_rate'" in folder.read_status()["reason"]


def test_metrics_can_be_read_as_a_table(workplace: Workplace, model: Path) -> None:
    run = finetuning(model, alg__training_args__max_steps=5)
    assert workplace.run_plan(write(workplace, run)).status == 0
    table = pd.read_json(workplace.folders()[0].metrics, lines=True)
    assert table["step"].is_monotonic_increasing
