"""Controlled runs on a chosen device, without a plan around them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from common.experiment import Context
from common.run.folder import RunFolder, read_json_lines
from common.training.determinism import set_numerics
from common.training.trainer import Trainer
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data.inputs import DenseInputs, Inputs, ModelInputs
from sft_vs_rft.data.run_data import Data
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.trainer import Batch, ControlledTrainer
from tests.gpu.findings import largest

Row = dict[str, float]

_SEEDS = {"random_seed": 0, "samples_rnd_seed": 0, "init_rnd_seed": 0}


def context(folder: Path, device: torch.device | str, seed: int = 0) -> Context:
    """What a run in a new folder is given that computes on a device."""
    folder.mkdir(parents=True, exist_ok=True)
    on_gpu = torch.device(device).type != "cpu"
    return Context(RunFolder(folder), seed=seed, gpu_ids=(0,) if on_gpu else ())


class OnDevice(ControlledExperiment):
    """A controlled run on a device of the caller's choice."""

    def __init__(self, keys: dict[str, Any], folder: Path, device: torch.device | str) -> None:
        config = ControlledConfig.model_validate(keys)
        set_numerics(config)  # as an attempt does
        super().__init__(config, context(folder, device, config.random_seed or 0))

    def rows(self) -> list[Row]:
        """Makes the run; gives its metrics, an object per epoch."""
        self.run()
        rows: list[Row] = read_json_lines(self.folder.metrics)
        return rows


class _DoubleTrainer(ControlledTrainer):
    def policy_logits(self, given: ModelInputs) -> torch.Tensor:
        """In the type of the weights, which is float64."""
        logits: torch.Tensor = self.network(given)
        return logits / self.config.logits_temperature


class InDouble(OnDevice):
    """The same run in float64, from the initial weights of float32."""

    def make_data(self) -> Data:
        """With inputs in float64."""
        data = super().make_data()
        return replace(
            data, train_inputs=_double(data.train_inputs), test_inputs=_double(data.test_inputs)
        )

    def measure(self, data: Data, trainer: Trainer[Batch]) -> None:
        """Leaves the table of inputs out."""

    def make_model(self, data: Data) -> nn.Module:
        """With weights in float64."""
        return super().make_model(data).double()

    def make_trainer(self, data: Data, model: nn.Module) -> Trainer[Batch]:
        """Whose losses and logits are in float64."""
        return _DoubleTrainer(self.config, data, model)

    def take_steps(self) -> None:
        """Trains in float64; what is drawn before is drawn in float32."""
        torch.set_default_dtype(torch.float64)
        try:
            super().take_steps()
        finally:
            torch.set_default_dtype(torch.float32)


def _double(inputs: Inputs) -> Inputs:
    return DenseInputs(inputs.values.double()) if isinstance(inputs, DenseInputs) else inputs


def deviation(rows: list[Row], exact: list[Row]) -> list[float]:
    """Of each epoch, the largest relative deviation of its metrics, or of an earlier epoch's.

    Accuracies are left out: an input between two labels moves them by a step.
    """
    so_far, found = 0.0, []
    for row, other in zip(rows, exact, strict=True):
        names = [n for n in other if "accuracy" not in n and n not in ("epoch", "seconds")]
        apart = (abs(row[n] - other[n]) / max(abs(other[n]), 1e-3) for n in names)
        so_far = largest([so_far, *apart])
        found.append(so_far)
    return found


def trainer_of(run: OnDevice) -> ControlledTrainer:
    """The trainer of a run before its first epoch."""
    data = run.make_data()
    trainer = run.make_trainer(data, run.make_model(data))
    assert isinstance(trainer, ControlledTrainer)
    return trainer


def images(path: Path, count: int, side: int = 32) -> dict[str, Any]:
    """Writes random images of ten classes; gives the keys of a run on all of them."""
    shape = 3, side, side
    return _arrays(path, count, shape) | {"model_type": "resnet18"}


def vectors(path: Path, count: int, width: int = 784) -> dict[str, Any]:
    """Writes random vectors of ten classes; gives the keys of a run on all of them."""
    return _arrays(path, count, (width,)) | {"model_type": "mlp"}


def _arrays(path: Path, count: int, shape: tuple[int, ...]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = rng.standard_normal((count, *shape), dtype=np.float32)
        arrays[f"y_{part}"] = np.arange(count) % 10
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return {"dataset": "npz", "data_path": str(path), "num_train_samples": 0,
            "num_test_samples": 0, "num_labels_per_sample": 5, **_SEEDS}  # fmt: skip


def sentence_pairs(folder: Path, count: int, *, hidden_size: int = 256) -> dict[str, Any]:
    """Writes made-up pairs and a vocabulary; gives the keys of a BERT on all of them.

    With the default width the model is BERT-mini; pairs have about as many tokens as STS-B's.
    """
    words = [f"w{number}" for number in range(1000)]
    rng = np.random.default_rng(0)
    model = folder / "model"
    model.mkdir(parents=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (model / "vocab.txt").write_text("\n".join([*special, *words]))
    sizes = {"hidden_size": hidden_size, "num_hidden_layers": 4,
             "num_attention_heads": 4, "intermediate_size": 4 * hidden_size}  # fmt: skip
    config = {"model_type": "bert", "vocab_size": len(words) + len(special), **sizes}
    (model / "config.json").write_text(json.dumps(config))
    (model / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    for part in ("train", "validation"):
        rows = (
            {f"sentence{side}": " ".join(rng.choice(words, rng.integers(5, 25)))
             for side in (1, 2)} | {"label": float(number % 6)}
            for number in range(count)
        )  # fmt: skip
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"dataset": "stsb", "data_path": str(folder), "model_type": f"bert:{model}",
            "num_train_samples": 0, "num_test_samples": 0, "num_labels_per_sample": 3,
            **_SEEDS}  # fmt: skip
