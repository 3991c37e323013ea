"""What is wrong with data and checkpoints is said before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from common.plan.run import Run
from sft_vs_rft import preflight
from sft_vs_rft.config import ControlledConfig
from tests.conftest import PROJECT, Workplace
from tests.test_command_line import digits, refused

OWN: dict[str, Any] = {"dataset": "npz", "data_path": "own.npz"}


def save(workplace: Workplace, name: str = "own.npz", **changes: np.ndarray) -> None:
    """Eight inputs of four numbers in each of five classes, for training and for testing."""
    rng = np.random.default_rng(len(name))
    arrays: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = rng.normal(size=(40, 4)).astype(np.float32)
        arrays[f"y_{part}"] = np.arange(40) % 5
    np.savez(workplace.path / name, **(arrays | changes))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"num_train_samples": 4}, "'num_train_samples' = 4: a stratified subset"),
        ({"num_train_samples": 1290}, "take 10 to 1287, or all 1297 (0)"),
        ({"num_test_samples": 495}, "'num_test_samples' = 495: a stratified subset"),
        ({**OWN, "num_test_samples": 3}, "take 5 to 35, or all 40 (0)"),
        ({**OWN, "num_train_samples": 0, "num_test_samples": 0,
          "frac_samples_to_modify_labels": 0.01,
          "score_metric_name": "reward small reward std"}, "this is never measured"),
        ({"frac_samples_to_modify_labels": 0.01, "num_train_samples": 60,
          "score_metric_name": "reward small reward std"}, "this run writes no such metric"),
        ({"channels_last": True}, "'channels_last' = true: only convolutional models"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_or_measured(
    workplace: Workplace, keys: dict[str, Any], message: str
) -> None:
    save(workplace)
    assert message in refused(workplace, configurations=digits(**keys))


def test_a_single_array_is_no_npz(workplace: Workplace) -> None:
    np.save(workplace.path / "own.npy", np.zeros(3))
    message = refused(workplace, configurations=digits(dataset="npz", data_path="own.npy"))
    assert "'data_path' = 'own.npy': not an npz file; write it with numpy.savez" in message


@pytest.mark.parametrize("damaged", ["x_train", "y_test"])
def test_a_damaged_file_is_one_message(workplace: Workplace, damaged: str) -> None:
    path = workplace.path / "own.npz"
    save(workplace)
    np.savez_compressed(path, **np.load(path))
    content = bytearray(path.read_bytes())
    start = content.index(f"{damaged}.npy".encode()) + 40
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(content)
    message = refused(workplace, configurations=digits(**OWN))
    assert "'data_path' = 'own.npz': not an npz file of plain arrays (" in message


def test_a_label_that_is_no_class(workplace: Workplace) -> None:
    save(workplace, y_train=np.append(np.arange(39) % 5, 10**9))
    assert "y_train holds 1000000000" in refused(workplace, configurations=digits(**OWN))


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<u2", ">i4", "f2", np.longdouble])
def test_numbers_of_any_kind_are_read(workplace: Workplace, dtype: Any) -> None:
    numbers = np.random.default_rng(0).integers(0, 9, size=(40, 4))
    save(workplace, x_train=numbers.astype(dtype), y_train=(np.arange(40) % 5).astype(">i8"))
    plan = workplace.write_plan(
        configurations=digits(**OWN, num_train_samples=0, num_test_samples=0)
    )
    assert workplace.run_plan(plan).status == 0


def test_classes_without_inputs_are_told_of_once(workplace: Workplace) -> None:
    save(workplace, y_train=np.arange(40) % 5 + 1, y_test=np.arange(40) % 5 + 1)
    keys = {**OWN, "num_train_samples": 0, "num_test_samples": 0}
    plan = workplace.write_plan(configurations=digits(**keys), seeds=[1, 2])
    assert workplace.run_plan(plan).err.count("has the label 0, of 6 classes") == 1


def images(side: int, *, channels_last: bool = False) -> dict[str, np.ndarray]:
    """Forty images in place of the inputs of `save`."""
    shape = (40, side, side, 3) if channels_last else (40, 3, side, side)
    return {f"x_{part}": np.zeros(shape, np.uint8) for part in ("train", "test")}


def looked_at(**keys: Any) -> list[str]:
    """What is wrong with a run on all of the own images."""
    config = ControlledConfig.model_validate(
        {**OWN, "num_train_samples": 0, "num_test_samples": 0, **keys}
    )
    run = SimpleNamespace(config=config, references=(), where="")
    return [str(problem) for problem in preflight.check([cast("Run", run)])]


@pytest.mark.parametrize(
    ("model_type", "side", "batch_size", "refused"),
    [
        ("resnet18", 32, 39, True),
        ("resnet18", 32, 1, True),
        ("resnet18", 32, 20, False),
        ("resnet18", 64, 39, False),  # a last stage of 2 x 2 has something to normalise over
        ("vgg11", 32, 39, False),  # no BatchNorm
        ("densenet121", 32, 39, True),
    ],
)
def test_a_batch_that_cannot_be_normalised(
    workplace: Workplace, model_type: str, side: int, batch_size: int, refused: bool
) -> None:
    save(workplace, **images(side))
    found = looked_at(model_type=model_type, batch_size=batch_size)
    message = f"'batch_size' = {batch_size}: leaves a batch of one of 40 inputs"
    assert [problem.startswith(message) for problem in found] == [True] * refused


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_whose_channels_come_last_are_told_of(
    workplace: Workplace, caplog: pytest.LogCaptureFixture, channels_last: bool
) -> None:
    save(workplace, **images(32, channels_last=channels_last))
    assert looked_at(model_type="resnet18") == []
    assert ("inputs are shaped [32, 32, 3]" in caplog.text) == channels_last


def test_finetuning_on_other_data_is_told_of(workplace: Workplace) -> None:
    for name in ("a.npz", "other.npz"):
        save(workplace, name)
    keys = {**OWN, "num_train_samples": 0, "num_test_samples": 0}
    (pretrain,) = digits(**keys | {"data_path": "a.npz"})
    (finetune,) = digits(**keys, load_model_from_checkpoint="@a.checkpoint")
    finetune["options"] = {"data_path": ["a.npz", "other.npz"]}
    plan = workplace.write_plan(configurations=[{"id": "a", **pretrain}, finetune])
    assert workplace.run_plan(plan).err.count("was made with 'data_path' = content") == 1


def test_weights_of_an_earlier_stage_that_will_not_fit(workplace: Workplace) -> None:
    (pretrain,) = digits(mlp_hidden_layer_sizes=[8])
    (finetune,) = digits(load_model_from_checkpoint="@a.checkpoint")
    finetune["options"] = {"mlp_hidden_layer_sizes": [[8], [9]]}
    found = refused(workplace, configurations=[{"id": "a", **pretrain}, finetune])
    assert (
        found.count("'load_model_from_checkpoint' = '@a.checkpoint': does not fit the model") == 1
    )
    assert "'1.weight' has shape [8, 64], the model's has [9, 64]" in found


def test_a_training_state_that_does_not_fit(workplace: Workplace) -> None:
    first = workplace.write_plan("first", configurations=digits(epochs=2))
    workplace.run_plan(first)
    last = workplace.folders("first")[0].checkpoints / "last.pt"
    bare = workplace.path / "bare.pt"
    torch.save(torch.load(last)["model"], bare)
    for path, keys, message in (
        (bare, {}, "holds no training state"),
        (last, {"epochs": 2}, "has seen 2 epochs, so nothing is left of 'epochs' = 2"),
        (last, {"epochs": 3, "mlp_hidden_layer_sizes": [9]}, "'1.weight' has shape [8, 64]"),
        (last, {"epochs": 3, "optimizer": "sgd"}, "was made with another optimizer"),
    ):
        given = digits(trainer_checkpoint=str(path), **keys)
        found = refused(workplace, configurations=given)
        assert "'trainer_checkpoint' = " in found
        assert message in found


def test_what_is_imported_after_seeding_draws_nothing() -> None:
    """scikit-learn draws from Python's generator when it is imported."""
    code = (
        "import random, sft_vs_rft.experiment\n"
        "random.seed(1); before = random.getstate()\n"
        "from sft_vs_rft.config import ControlledConfig\n"
        "from sft_vs_rft.data.run_data import make_data\n"
        "make_data(ControlledConfig(dataset='digits', model_type='mlp'), 'cpu')\n"
        "assert random.getstate() == before"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(PROJECT), check=True)
