"""Measuring never changes training, and what it measures is what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from common.experiment import Context
from common.run.folder import RunFolder, read_json_lines
from common.training.shuffle import pass_over_loader, shuffled
from common.training.trainer import Callback
from sft_vs_rft.config import CHANGED, OTHERS, ControlledConfig
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.trainer import Batch, ControlledTrainer
from tests.conftest import TINY_DIGITS
from tests.fits import fit


def experiment(folder: Path, **changes: Any) -> ControlledExperiment:
    folder.mkdir(exist_ok=True)
    config = ControlledConfig.model_validate(TINY_DIGITS | changes)
    return ControlledExperiment(config, Context(RunFolder(folder), seed=1))


def trainer_of(made: ControlledExperiment) -> ControlledTrainer:
    torch.manual_seed(1)
    data = made.make_data()
    trainer = made.make_trainer(data, made.make_model(data))
    assert isinstance(trainer, ControlledTrainer)
    return trainer


@pytest.mark.parametrize("method", ["supervised", "reinforce", "expected_reinforce"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_diagnostics_do_not_change_training(tmp_path: Path, method: str, optimizer: str) -> None:
    weights = []
    for diagnostics in (True, False):
        made = experiment(
            tmp_path / str(diagnostics), opt_method=method, optimizer=optimizer,
            diagnostics=diagnostics, lr=0.01, epochs=4, kl_regularization_coeff=0.3,
        )  # fmt: skip
        made.run()
        weights.append(torch.load(made.folder.checkpoints / "last.pt")["model"])
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


@pytest.mark.parametrize("method", ["supervised", "expected_reinforce"])
@pytest.mark.parametrize("in_one_pass", [False, True])
def test_norms_are_those_of_each_parts_own_mean(
    tmp_path: Path, method: str, in_one_pass: bool
) -> None:
    trainer = trainer_of(experiment(tmp_path, opt_method=method, kl_regularization_coeff=0.2))
    trainer.couples_inputs = in_one_pass
    batch = next(iter(trainer.batches()))
    assert len(batch.changed) > 0 < len(batch.others)

    def norm_over(positions: Tensor) -> Tensor:
        mean = trainer._forward(positions).objective.mean()
        gradient = torch.autograd.grad(mean, trainer.params)
        return torch.cat([tensor.flatten() for tensor in gradient]).norm()

    both = torch.cat([batch.changed, batch.others])
    expected = {
        "grad norm": norm_over(both),
        "grad norm small reward std": norm_over(batch.changed),
        "grad norm large reward std": norm_over(batch.others),
    }
    report, _ = trainer.train_step(batch)
    for name, value in expected.items():
        torch.testing.assert_close(report[name], value, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("in_one_pass", [False, True])
@pytest.mark.parametrize("lacking", ["changed", "others"])
def test_a_part_is_measured_whenever_it_has_inputs(
    tmp_path: Path, lacking: str, in_one_pass: bool
) -> None:
    trainer = trainer_of(experiment(tmp_path, opt_method="expected_reinforce"))
    trainer.couples_inputs = in_one_pass
    all_inputs, changed = torch.arange(60), trainer.data.changed
    nobody = all_inputs[:0]
    batch = (
        Batch(nobody, all_inputs[~changed][:7])
        if lacking == "changed"
        else Batch(all_inputs[changed][:7], nobody)
    )
    report, _ = trainer.train_step(batch)
    there, absent = (OTHERS, CHANGED) if lacking == "changed" else (CHANGED, OTHERS)
    assert not [name for name in report if name.endswith(absent)]
    for name in ("reward", "train accuracy", "grad norm", "normalized grad norm"):
        torch.testing.assert_close(report[f"{name} {there}"], report[name], rtol=1e-6, atol=0)
    torch.testing.assert_close(report[f"reg objective {there}"], report["reg objective value"])
    assert report[f"avg reward std {there}"] > 0


@pytest.mark.parametrize("in_one_pass", [False, True])
def test_weights_that_the_model_does_not_use_are_left_as_they_are(
    tmp_path: Path, in_one_pass: bool
) -> None:
    made = experiment(tmp_path, opt_method="expected_reinforce")
    data = made.make_data()
    model = made.make_model(data)
    model.register_parameter("unused", torch.nn.Parameter(torch.ones(3)))
    trainer = made.make_trainer(data, model)
    assert isinstance(trainer, ControlledTrainer)
    trainer.couples_inputs = in_one_pass
    batch = next(iter(trainer.batches()))
    assert len(batch.changed) > 0 < len(batch.others)
    report, _ = trainer.train_step(batch)
    assert report["grad norm small reward std"] > 0 < report["grad norm large reward std"]
    assert model.unused.tolist() == [1, 1, 1]


def test_small_batches_count_all_other_inputs(tmp_path: Path) -> None:
    made = experiment(tmp_path, opt_method="expected_reinforce", batch_size=4, epochs=1, lr=1e-9,
                      frac_samples_to_modify_labels=0.1)  # fmt: skip
    trainer = trainer_of(made)
    state = torch.get_rng_state()
    batches = list(trainer.batches())
    assert 0 < sum(len(batch.changed) == 0 for batch in batches) < len(batches)
    assert all(len(batch.others) for batch in batches)
    logits = trainer.logits_without_grad(trainer.data.train_inputs)
    rewards = (logits.softmax(-1) * trainer.rewards).sum(-1)
    trainer.callbacks = [_Keep()]
    torch.set_rng_state(state)
    fit(trainer, 1)
    row = trainer.callbacks[0].row
    for part, parts in (
        (OTHERS, [batch.others for batch in batches]),
        (CHANGED, [batch.changed for batch in batches if len(batch.changed)]),
    ):
        expected = torch.stack([rewards[positions].mean() for positions in parts]).mean()
        assert row[f"reward {part}"] == pytest.approx(float(expected), abs=1e-6)


class _Keep(Callback):
    """Keeps the metrics of the last epoch."""

    def on_epoch_end(self, trainer: Any, metrics: dict[str, Any]) -> None:
        self.row = metrics


def test_a_part_without_inputs_is_left_out(tmp_path: Path) -> None:
    made = experiment(tmp_path, frac_samples_to_modify_labels=0.05, batch_size=4, epochs=3)
    made.run()  # 3 changed inputs in 15 batches: most batches have none
    row = read_json_lines(made.folder.metrics)[-1]
    assert -1 <= row["reward small reward std"] <= 1


def test_all_inputs_changed(tmp_path: Path) -> None:
    made = experiment(tmp_path, frac_samples_to_modify_labels=1.0)
    made.run()
    row = read_json_lines(made.folder.metrics)[-1]
    assert row["grad norm small reward std"] == pytest.approx(row["grad norm"], rel=1e-5)
    assert "grad norm large reward std" not in row


@pytest.mark.parametrize("num_inputs", [1, 7, 100])
def test_order_of_inputs_is_that_of_a_shuffling_data_loader(num_inputs: int) -> None:
    data = torch.arange(num_inputs)
    torch.manual_seed(5)
    loader = DataLoader(data, sampler=BatchSampler(RandomSampler(data), 3, False), batch_size=None)
    by_loader = [torch.cat(list(loader)) for _ in range(2)]
    list(DataLoader(data, batch_size=3))
    after = torch.rand(3)
    torch.manual_seed(5)
    by_us = [shuffled(num_inputs) for _ in range(2)]
    pass_over_loader()
    assert torch.equal(torch.rand(3), after)
    for ours, theirs in zip(by_us, by_loader, strict=True):
        assert torch.equal(ours, theirs)


def test_per_input_table(tmp_path: Path) -> None:
    made = experiment(tmp_path, lr=0.01, epochs=3)
    made.run()
    table = pd.read_parquet(made.folder.table("per_input"))
    assert list(table.epochs_trained.unique()) == [0, 3]
    before = table[table.epochs_trained == 0]
    assert before.input.tolist() == list(range(60))
    assert before.changed.sum() == 12
    assert (table.logit_grad_norm <= table.reward_std + 1e-6).all()

    trainer = trainer_of(made)  # the model before training
    logits = trainer.logits_without_grad(trainer.data.train_inputs).double().requires_grad_()
    probabilities = logits.softmax(-1)
    value = (probabilities * trainer.rewards).sum(-1)
    gradient = torch.autograd.grad(value.sum(), logits)[0]
    assert before.reward_mean.to_numpy() == pytest.approx(value.detach().numpy(), abs=1e-6)
    assert before.logit_grad_norm.to_numpy() == pytest.approx(
        gradient.norm(dim=1).numpy(), abs=1e-6
    )


def test_initial_reference_is_the_model_as_it_starts(tmp_path: Path) -> None:
    trainer = trainer_of(experiment(tmp_path, kl_regularization_coeff=0.5, opt_method="supervised"))
    report, _ = trainer.train_step(next(iter(trainer.batches())))
    assert report["kl reg"].item() == pytest.approx(0, abs=1e-6)
    report, _ = trainer.train_step(next(iter(trainer.batches())))
    assert report["kl reg"].item() > 1e-9


@pytest.mark.parametrize("method", ["supervised", "reinforce", "expected_reinforce"])
def test_batch_norm_moves_once_per_step_whether_measured_or_not(
    tmp_path: Path, method: str
) -> None:
    states = []
    for diagnostics in (True, False):
        made = experiment(
            tmp_path / str(diagnostics), dataset="npz", data_path=small_images(tmp_path),
            model_type="resnet18", diagnostics=diagnostics, opt_method=method, batch_size=8,
        )  # fmt: skip
        trainer = trainer_of(made)
        assert trainer.couples_inputs
        torch.manual_seed(0)
        for batch in list(trainer.batches())[:2]:
            trainer.train_step(batch)
        states.append(trainer.model.state_dict())
    assert states[0]["bn1.num_batches_tracked"] == 2
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def small_images(folder: Path) -> str:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, size in (("train", 24), ("test", 8)):
        arrays[f"x_{part}"] = rng.integers(0, 255, (size, 3, 32, 32), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(size) % 4
    np.savez(folder / "images.npz", **arrays)
    return str(folder / "images.npz")


def test_a_single_changed_input_in_a_batch_is_measured_with_batch_norm(tmp_path: Path) -> None:
    trainer = trainer_of(
        experiment(
            tmp_path,
            dataset="npz",
            data_path=small_images(tmp_path),
            model_type="resnet18",
            num_train_samples=0,
            batch_size=24,
            frac_samples_to_modify_labels=0.05,
        )
    )
    (batch,) = trainer.batches()
    assert len(batch.changed) == 1
    report, _ = trainer.train_step(batch)
    assert report["grad norm small reward std"] > 0
