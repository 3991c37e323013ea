from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.experiment import Context
from common.run.folder import RunFolder
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data.inputs import TextInputs
from sft_vs_rft.data.run_data import Data, make_data
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.model_names import VISION_MODELS
from sft_vs_rft.models.build import build_model, vision_model
from tests.conftest import Workplace, without_seconds
from tests.fits import fit
from tests.sft_vs_rft.conftest import stsb


def data_of(config: ControlledConfig) -> Data:
    return make_data(config, torch.device("cpu"))


@pytest.mark.parametrize("model_type", sorted(VISION_MODELS))
def test_vision_models_take_the_inputs_channels_and_classes(model_type: str) -> None:
    side = 80 if model_type == "inception_v3" else 32
    with torch.device("meta"):
        for channels in (1, 3):
            model = vision_model(model_type, (channels, side, side), 7)
            assert model.eval()(torch.empty(2, channels, side, side)).shape == (2, 7)


def test_resnet_draws_its_weights_in_the_published_order() -> None:
    import torchvision

    torch.manual_seed(3)
    expected = torchvision.models.resnet18()
    expected.fc = torch.nn.Linear(512, 10)
    expected.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    torch.manual_seed(3)
    ours = vision_model("resnet18", (1, 28, 28), 10).state_dict()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, ours[name]), name


@pytest.mark.parametrize(
    ("model_type", "shape", "message"),
    [
        ("inception_v3", (3, 32, 32), "needs images of at least 75 x 75, not 32 x 32"),
        ("vgg11", (1, 28, 28), "needs images of at least 32 x 32, not 28 x 28"),
        ("resnet18", (64,), "needs images"),
    ],
)
def test_inputs_that_a_model_cannot_take(
    model_type: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        vision_model(model_type, shape, 10)


def test_a_size_that_does_not_fit_is_refused_before_the_first_run(workplace: Workplace) -> None:
    base = {"dataset": "digits", "model_type": "vgg11", "epochs": 1}
    outcome = workplace.run_plan(workplace.write_plan(configurations=[{"base_config": base}]))
    assert outcome.status == 2
    assert "'model_type' = 'vgg11': needs images of at least 32 x 32, not 8 x 8" in outcome.err
    assert workplace.files() == []


def test_bert_has_random_weights_and_no_dropout(bert: str, pairs: Path) -> None:
    model = build_model(stsb(bert, pairs), (), 6)
    assert all(m.p == 0 for m in model.modules() if isinstance(m, torch.nn.Dropout))
    assert model.state_dict()["bert.classifier.weight"].shape == (6, 16)


@pytest.mark.parametrize(("name", "parameters"), [("bert-tiny", 4.4e6), ("bert-mini", 11.2e6)])
def test_bert_sizes(name: str, parameters: float) -> None:
    config = ControlledConfig(dataset="stsb", model_type=name)
    with torch.device("meta"):
        model = build_model(config, (), 6)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(parameters, rel=0.01)


def test_bert_trains_equally_with_diagnostics_on_and_off(
    bert: str, pairs: Path, workplace: Workplace
) -> None:
    base = {**stsb(bert, pairs).model_dump(mode="json"), "epochs": 2, "optimizer": "adam",
            "frac_samples_to_modify_labels": 0.1, "opt_method": "expected_reinforce"}  # fmt: skip
    plan = workplace.write_plan(
        configurations=[{"base_config": base, "options": {"diagnostics": [True, False]}}]
    )
    assert workplace.run_plan(plan).status == 0
    states = [torch.load(folder.checkpoints / "last.pt")["model"] for folder in workplace.folders()]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    losses = [[row["test loss"] for row in without_seconds(f)] for f in workplace.folders()]
    assert losses[0] == losses[1]


def test_model_types_and_data_must_go_together(workplace: Workplace) -> None:
    base = {"dataset": "stsb", "model_type": "resnet18"}
    outcome = workplace.run_plan(workplace.write_plan(configurations=[{"base_config": base}]))
    assert "'model_type' = 'resnet18': BERT reads dataset 'stsb', and only BERT does" in outcome.err
    base = {"dataset": "cifar10", "model_type": "resnet8"}
    outcome = workplace.run_plan(workplace.write_plan(configurations=[{"base_config": base}]))
    assert "'model_type' = 'resnet8': unknown; did you mean 'resnet18'?" in outcome.err


def test_the_real_packs_load_by_plan_keys_alone(data_dir: Path) -> None:
    base: dict[str, Any] = {"data_dir": str(data_dir), "samples_rnd_seed": 192}
    cifar = data_of(ControlledConfig(dataset="cifar10", num_train_samples=0, **base))
    assert cifar.train_inputs.values.shape == (10_000, 3, 32, 32)
    assert cifar.train_labels.bincount().tolist() == [1000] * 10
    pairs = data_of(
        ControlledConfig(
            dataset="stsb",
            data_path=str(data_dir / "stsb"),
            num_train_samples=0,
            model_type=f"bert:{data_dir / 'bert-mini'}",
            num_test_samples=10,
            **base,
        )
    )
    assert len(pairs.train_inputs) == 5749
    assert len(pairs.test_inputs) == 1500  # always whole
    assert isinstance(pairs.train_inputs, TextInputs)
    share = 1 - pairs.train_inputs.lengths.sum() / pairs.train_inputs.ids.numel()
    assert math.isclose(share, 0.5, abs_tol=0.4)


def test_channels_last_moves_the_layout_of_weights_and_no_number(workplace: Workplace) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = rng.normal(size=(20, 3, 8, 8)).astype(np.float32)
        arrays[f"y_{part}"] = np.arange(20) % 5
    np.savez(workplace.path / "images.npz", **arrays)
    keys = {"dataset": "npz", "data_path": "images.npz", "model_type": "resnet18",
            "num_train_samples": 0, "num_test_samples": 0, "num_labels_per_sample": 2, "lr": 1e-4,
            "frac_samples_to_modify_labels": 0.2, "batch_size": 10, "random_seed": 1,
            "init_rnd_seed": 2, "samples_rnd_seed": 3, "epochs": 2}  # fmt: skip
    rows = []
    for place, channels_last in enumerate((False, True)):
        config = ControlledConfig.model_validate({**keys, "channels_last": channels_last})
        folder = RunFolder(workplace.path / str(place))
        folder.path.mkdir()
        experiment = ControlledExperiment(config, Context(folder, seed=1))
        _, trainer = experiment.prepare()
        weight = trainer.model.get_submodule("layer1.0.conv1").weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
        fit(trainer, 2)
        rows.append(without_seconds(folder))
    for row, other in zip(*rows, strict=True):
        assert row == pytest.approx(other, rel=1e-3, abs=1e-5)
