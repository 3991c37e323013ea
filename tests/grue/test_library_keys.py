"""Keys of the libraries, which no field of the project describes, are checked before the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.conftest import TINY_DIGITS, Workplace
from tests.grue.conftest import save_model, write
from tests.grue.parts import ANIMALS
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

KWARGS = "alg.policy.args.optimizer_kwargs"


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def refused(workplace: Workplace, *runs: dict[str, Any]) -> list[str]:
    """What is told of each of some wrong configurations."""
    outcome = workplace.run_plan(write(workplace, *runs))
    assert outcome.status == 2, outcome.out + outcome.err
    assert not workplace.folders()
    return outcome.err.split("plan.json, configurations[")[1:]


TRAINING: dict[str, tuple[dict[str, Any], ...]] = {
    "'alg.training_args.learning_rate' = '1e-3': expected a number": ({"learning_rate": "1e-3"},),
    "'alg.training_args.per_device_train_batch_size' = 8.5: expected a whole number":
        ({"per_device_train_batch_size": 8.5},),
    "'alg.training_args.per_device_train_batch_size' = 0: must be greater":
        ({"per_device_train_batch_size": 0},),
    "'alg.training_args.bf16' = 1: expected true or false": ({"bf16": 1},),
    "'alg.training_args.learning_rat' = 0.1: unknown key; did you mean 'learning_rate'?":
        ({"learning_rat": 0.1},),
    "'alg.training_args.lr' = 0.1: the Trainer calls it 'learning_rate'; write": ({"lr": 0.1},),
    "'alg.training_args.warmup_ratio' = 'x': expected a number": ({"warmup_ratio": "x"},),
    "'alg.training_args.optim' = 'sgdd': sgdd is not a valid OptimizerNames": ({"optim": "sgdd"},),
    "'alg.training_args.adam_beta1' = 1.5: the optimizer refuses it: Invalid beta":
        ({"adam_beta1": 1.5},),
    "'alg.training_args.tf32' = true: the CPU has no TensorFloat-32": ({"tf32": True},),
    "'alg.training_args': ": ({"fp16": True, "bf16": True},),
}  # fmt: skip


def test_arguments_of_the_trainer(workplace: Workplace, model: Path) -> None:
    wrong = [finetuning(model, alg__training_args=given) for (given,) in TRAINING.values()]
    told = refused(workplace, *wrong)
    for message, block in zip(TRAINING, told, strict=True):
        assert message in block, block
        assert block.count("\n  ") == 1


def test_all_that_the_trainer_refuses_is_told_at_once(workplace: Workplace, model: Path) -> None:
    given = {"optim": "sgdd", "lr_scheduler_type": "cosin", "warmup_steps": -3}
    (told,) = refused(workplace, finetuning(model, alg__training_args=given))
    for name, value in given.items():
        assert told.count(f"'alg.training_args.{name}' = {value!r}: ") == 1, told


@pytest.mark.parametrize("experiment", ["grue_classifier", "reward_model"])
def test_those_of_models_that_judge(workplace: Workplace, model: Path, experiment: str) -> None:
    loss = {"alg.loss.id": "pairwise"} if experiment == "reward_model" else {}
    run = {"experiment": experiment, "tokenizer.model_name": str(model), "datapool.id": ANIMALS,
           "alg.model_name": str(model), "alg.training_args.max_steps": "3", **loss}  # fmt: skip
    (told,) = refused(workplace, run)
    assert told.count("'alg.training_args.max_steps' = '3': expected a whole number") == 1


def test_arguments_of_the_optimizer(workplace: Workplace, model: Path) -> None:
    given: list[dict[str, Any]] = [
        {"lr": 0.1, "weight_decay": 0.1}, {"epsilon": 1e-5}, {"eps": "1e-5"},
        {"betas": [0.9, "x"]}, {"betas": [0.9, 1.5]}, {"amsgrad": "yes"},
    ]  # fmt: skip
    key = KWARGS.replace(".", "__")
    told = refused(workplace, *[reinforcement(model, **{key: kwargs}) for kwargs in given])
    expected = [
        f"'{KWARGS}.lr' = 0.1: has a key of its own, 'alg.args.learning_rate'; give it there",
        f"'{KWARGS}.epsilon' = 1e-05: unknown key; did you mean 'eps'?",
        f"'{KWARGS}.eps' = '1e-5': expected a number",
        f"'{KWARGS}.betas[1]' = 'x': expected a number",
        f"'{KWARGS}' = {{'betas': [0.9, 1.5]}}: the optimizer refuses it: Invalid beta parameter",
        f"'{KWARGS}.amsgrad' = 'yes': expected true or false",
    ]
    for message, block in zip(expected, told, strict=True):
        assert message in block, block
    assert "'alg.policy.args.weight_decay'; give it there" in told[0]
    good = reinforcement(model, **{key: {"eps": 1e-5, "betas": [0.9, 0.99], "amsgrad": True}},
                         train_evaluation__n_iters=1)  # fmt: skip
    assert workplace.run_plan(write(workplace, good)).status == 0


def test_numbers_that_are_not_finite_have_no_way_to_a_run(
    workplace: Workplace, model: Path
) -> None:
    nan, infinite = float("nan"), float("inf")
    told = refused(
        workplace,
        finetuning(model, alg__training_args={"learning_rate": nan, "max_grad_norm": infinite}),
        reinforcement(model, **{KWARGS.replace(".", "__"): {"eps": infinite}}),
        {"experiment": "sft_vs_rft", **TINY_DIGITS, "lr": infinite},
        {"experiment": "sft_vs_rft", **TINY_DIGITS, "change_label_per_class": [{"a": nan}]},
    )
    assert "'alg.training_args.learning_rate' = NaN: expected a finite number" in told[0]
    assert "'alg.training_args.max_grad_norm' = Infinity: expected a finite number" in told[0]
    assert f"'{KWARGS}.eps' = Infinity: expected a finite number" in told[1]
    assert told[2].count("'lr' = Infinity: expected a finite number") == 1
    assert "'change_label_per_class[0].a' = NaN: expected a finite number" in told[3]
