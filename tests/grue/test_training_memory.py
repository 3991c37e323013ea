"""Estimates of training by the Trainer against the memory that it really takes, on the CPU."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.config.base import Config
from common.config.resolve import resolve
from common.experiment import EXPERIMENTS, Context
from common.machine.memory import Moment
from common.machine.memory_trace import MemoryTrace, held
from common.plan.load import load_plan
from common.run.folder import RunFolder
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.classifier.run import ClassifierRun
from grue.experiments.memory.needs import needs
from grue.experiments.reward_model.config import RewardModelConfig
from grue.experiments.reward_model.run import RewardModelRun
from grue.models.config import ModelOptions
from grue.models.loading import load_model
from grue.supervised import trainer as supervised
from grue.supervised.arguments import training_arguments
from grue.supervised.rows import Rows, collate
from tests.conftest import Workplace
from tests.grue.conftest import encoder_decoder, save_model
from tests.grue.fitted import Recorded
from tests.grue.judging import save_classifier
from tests.grue.parts import ANIMALS
from tests.grue.test_classifier import configuration as classifier
from tests.grue.test_reward_model import configuration as reward_model
from tests.grue.test_reward_model import write_data

pytestmark = pytest.mark.usefixtures("plain_attention")

MOST = 1.6
"""How many times the memory that is really taken an estimate may be."""
STEPS = {"max_steps": 3, "logging_strategy": "no"}


def update_of(workplace: Workplace, experiment: str, keys: dict[str, Any]) -> Moment:
    base = {key: value for key, value in keys.items() if key != "experiment_name"}
    plan = workplace.write_plan(experiment=experiment, configurations=[{"base_config": base}])
    (need,) = needs(load_plan(plan, EXPERIMENTS).runs)
    assert need is not None
    return need[0]


def size_of(moment: Moment, *names: str) -> int:
    return sum(term.size for term in moment.terms if term.name in names)


def compare(update: Moment, weights: int, peak: int) -> None:
    """With the weights, and the peak of everything else while it is trained."""
    assert size_of(update, "weights") == weights
    assert 1.0 <= (update.size - weights) / peak <= MOST
    assert update.least <= weights + peak


def context(path: Path) -> Context:
    path.mkdir(exist_ok=True)
    return Context(RunFolder(path), seed=3)


@pytest.mark.parametrize(
    "changes",
    [{}, {"optim": "sgd"}, {"optim": "adafactor"}, {"gradient_checkpointing": True}],
    ids=lambda changes: next(iter(changes), "plain"),
)
@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
@pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated")
def test_supervised_finetuning(
    workplace: Workplace,
    tokenizer: PreTrainedTokenizerFast,
    kind: Any,
    changes: dict[str, Any],
) -> None:
    folder = save_model(workplace.path / "model", tokenizer)
    if kind == "seq2seq":
        encoder_decoder("t5", len(tokenizer)).save_pretrained(folder)  # type: ignore[operator]
    given = {"per_device_train_batch_size": 8, **STEPS, **changes}
    keys = {
        "tokenizer": {"model_name": str(folder)}, "datapool": {"id": ANIMALS},
        "alg": {"id": "supervised", "model_type": kind, "model_name": str(folder),
                "training_args": given},
        "train_evaluation": {"eval_batch_size": 8, "generation_kwargs": {"max_new_tokens": 6}},
    }  # fmt: skip
    update = update_of(workplace, "grue_finetune", keys)

    model = load_model(str(folder), kind, ModelOptions(), seed=0, dropout=False)
    rows = [{"input_ids": [1 + i] * 64, "labels": [1 + i] * 64} for i in range(8)]
    arguments = training_arguments(
        given, workplace.path / "out", seed=0, device=torch.device("cpu")
    )
    collator = functools.partial(collate, pad_token=tokenizer.pad_token_id or 0)
    with MemoryTrace() as trace:
        supervised.fit(model, Rows(rows), collator, arguments, Recorded())
    compare(update, held(model), trace.peak)


def trained(kind: Any, model: type[Config], keys: dict[str, Any], folder: Path) -> tuple[Any, int]:
    """A run of these keys after its training, and the peak of memory that this took."""
    config, _ = resolve(model, keys)
    assert config is not None
    run = kind(config, context(folder)).set_up()
    with MemoryTrace() as trace:
        run.take_steps()
    return run, trace.peak


@pytest.mark.parametrize("loss", ["pairwise", "best_of_n", "scalar_rating"])
@pytest.mark.parametrize("optimizer", ["adamw", "adam_tensorflow"])
def test_reward_models(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, loss: str, optimizer: str
) -> None:
    folder = save_model(workplace.path / "model", tokenizer)
    data = write_data(workplace.path / "data", 4 if loss == "best_of_n" else 2, train=40)
    keys = reward_model(folder, data, loss)
    keys["tokenizer"]["max_length"] = 8  # so that all texts are as long
    keys["alg"] |= {"optimizer": optimizer, "training_args": STEPS}
    update = update_of(workplace, "reward_model", keys)

    run, peak = trained(RewardModelRun, RewardModelConfig, keys, workplace.path / "run")
    compare(update, held(run.module), peak)


def test_classifiers(workplace: Workplace) -> None:
    sizes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    folder = save_classifier(workplace.path / "model")
    keys = classifier(folder, training_args=STEPS, architecture=sizes)
    keys["tokenizer"]["max_length"] = 7
    update = update_of(workplace, "grue_classifier", keys)

    run, peak = trained(ClassifierRun, ClassifierConfig, keys, workplace.path / "run")
    compare(update, held(run.classifier.model), peak)


def test_narrow_products_have_copies_of_the_weights(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast
) -> None:
    folder = save_model(workplace.path / "model", tokenizer)
    data = write_data(workplace.path / "data", 2, train=16)
    keys = reward_model(folder, data, "pairwise")
    plain = update_of(workplace, "reward_model", keys)
    keys["alg"]["mixed_precision"] = "bf16"
    mixed = update_of(workplace, "reward_model", keys)
    copies = size_of(mixed, "narrow copies of weights")
    assert copies == size_of(plain, "weights") // 2
    assert mixed.size == plain.size + copies


def test_arguments_that_need_a_gpu_do_not_hinder(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast
) -> None:
    folder = save_model(workplace.path / "model", tokenizer)
    data = write_data(workplace.path / "data", 2, train=16)
    keys = reward_model(folder, data, "pairwise")
    plain = update_of(workplace, "reward_model", keys)
    keys["alg"]["training_args"] |= {"tf32": True, "torch_compile": True}
    assert update_of(workplace, "reward_model", keys) == plain
