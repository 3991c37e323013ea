"""Estimates of controlled runs' memory against what they really take, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.experiment import EXPERIMENTS, Context
from common.machine.memory import Moment
from common.machine.memory_trace import MemoryTrace, held, state_of
from common.plan.load import load_plan
from common.run.folder import RunFolder
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.memory import needs
from sft_vs_rft.trainer import Batch, ControlledTrainer
from tests.conftest import TINY_DIGITS, Workplace

MOST = 1.6
"""How many times the memory that is really taken an estimate may be."""


def images(folder: Path, side: int) -> Path:
    rng = np.random.default_rng(0)
    path = folder / "images.npz"
    np.savez(
        path,
        x_train=rng.random((80, 3, side, side), dtype=np.float32),
        y_train=np.arange(80) % 5,
        x_test=rng.random((20, 3, side, side), dtype=np.float32),
        y_test=np.arange(20) % 5,
    )
    return path


def estimated(workplace: Workplace, keys: dict[str, Any]) -> list[Moment]:
    plan = workplace.write_plan(configurations=[{"base_config": keys}])
    (need,) = needs(load_plan(plan, EXPERIMENTS).runs)
    assert need is not None
    return list(need)


def size_of(moment: Moment, name: str) -> int:
    return sum(term.size for term in moment.terms if term.name == name)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("model_type", ["mlp", "resnet18"])
def test_an_estimate_bounds_real_steps(
    workplace: Workplace, model_type: str, share: float, optimizer: str
) -> None:
    keys = TINY_DIGITS | {
        "model_type": model_type, "optimizer": optimizer, "frac_samples_to_modify_labels": share,
        "mlp_hidden_layer_sizes": [64, 32],
    }  # fmt: skip
    if model_type == "resnet18":
        path = str(images(workplace.path, 24))
        keys |= {"dataset": "npz", "data_path": path, "num_train_samples": 60,
                 "num_test_samples": 20}  # fmt: skip
    update, _ = estimated(workplace, keys)

    config = ControlledConfig.model_validate(keys)
    made = ControlledExperiment(config, Context(RunFolder(workplace.path), seed=1))
    torch.manual_seed(1)
    data = made.make_data()
    trainer = made.make_trainer(data, made.make_model(data))
    assert isinstance(trainer, ControlledTrainer)
    batch = next(iter(trainer.batches()))
    trainer.train_step(batch)
    trainer.model.zero_grad(set_to_none=True)
    with MemoryTrace() as trace:
        trainer.train_step(batch)

    weights = held(trainer.model)
    inputs: Any = (data.train_inputs, data.test_inputs)
    assert size_of(update, "weights") == weights
    assert size_of(update, "optimiser") == pytest.approx(state_of(trainer.optimizer), abs=4 * 70)
    labels = [data.train_labels, data.test_labels, data.label_sets]
    resident = [*(part.values for part in inputs), *labels]
    assert size_of(update, "data") == sum(tensor.nbytes for tensor in resident)
    rest = size_of(update, "gradients") + size_of(update, "activations")
    assert 1.0 <= rest / trace.peak <= MOST
    assert (
        update.least - size_of(update, "data") <= weights + state_of(trainer.optimizer) + trace.peak
    )


def test_larger_batches_take_more(workplace: Workplace) -> None:
    path = str(images(workplace.path, 64))
    keys = TINY_DIGITS | {"dataset": "npz", "data_path": path, "model_type": "resnet18",
                          "num_train_samples": 0, "num_test_samples": 20}  # fmt: skip
    small, large = (estimated(workplace, keys | {"batch_size": size})[0] for size in (16, 64))
    assert size_of(large, "activations") > 2 * size_of(small, "activations")
    assert size_of(large, "weights") == size_of(small, "weights")


@pytest.mark.usefixtures("plain_attention")
def test_texts_are_counted_as_long_as_they_are_padded(
    workplace: Workplace, bert: str, pairs: Path
) -> None:
    keys = {"dataset": "stsb", "data_path": str(pairs), "model_type": bert, "batch_size": 64,
            "num_train_samples": 0, "num_labels_per_sample": 3}  # fmt: skip
    update, evaluation = estimated(workplace, keys)
    config = ControlledConfig.model_validate({**keys, "random_seed": 1})
    made = ControlledExperiment(config, Context(RunFolder(workplace.path), seed=1))
    data = made.make_data()
    inputs: Any = data.train_inputs
    per_text = 2 * 8 * inputs.ids.shape[1] + 8  # with its label
    assert size_of(update, "data") == (120 + 30) * per_text + 6 * 3 * 8

    trainer = made.make_trainer(data, made.make_model(data))
    assert isinstance(trainer, ControlledTrainer)
    longest = inputs.lengths.argsort(descending=True)[:64]
    batch = Batch(longest[:0], longest)
    trainer.train_step(batch)
    trainer.model.zero_grad(set_to_none=True)
    with MemoryTrace() as trace:
        trainer.train_step(batch)
    rest = size_of(update, "gradients") + size_of(update, "activations")
    assert 1.0 <= rest / trace.peak <= MOST
    assert 0 < size_of(evaluation, "activations") < size_of(update, "activations")


def test_data_that_cannot_be_had_are_told_of_elsewhere(workplace: Workplace) -> None:
    path = workplace.path / "none.npz"
    path.write_bytes(b"")
    plan = workplace.write_plan(
        configurations=[{"base_config": {"dataset": "npz", "data_path": str(path),
                                         "model_type": "mlp"}}]
    )  # fmt: skip
    assert needs(load_plan(plan, EXPERIMENTS).runs) == [None]
