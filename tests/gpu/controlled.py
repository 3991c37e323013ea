"""Controlled runs on a chosen device, without a plan around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.experiment import Context
from common.run_folder import RunFolder, read_json_lines
from common.trainer import Trainer
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data import Data
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.inputs import DenseInputs, Inputs, ModelInputs
from sft_vs_rft.trainer import Batch, ControlledTrainer

Row = dict[str, float]


class OnDevice(ControlledExperiment):
    """A controlled run on a device of the caller's choice."""

    def __init__(self, keys: dict[str, Any], folder: Path, device: torch.device | str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = ControlledConfig.model_validate(keys)
        super().__init__(config, Context(RunFolder(folder), seed=config.random_seed or 0))
        self.device = torch.device(device)

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

    def run(self) -> float | None:
        """Makes the run; what is drawn before it, is drawn in float32."""
        data, trainer = self.prepare()
        torch.set_default_dtype(torch.float64)
        try:
            trainer.fit(self.config.epochs)
        finally:
            torch.set_default_dtype(torch.float32)
        return self.conclude(data, trainer)


def _double(inputs: Inputs) -> DenseInputs:
    assert isinstance(inputs, DenseInputs)
    return DenseInputs(inputs.values.double())


def deviation(rows: list[Row], exact: list[Row]) -> list[float]:
    """Of each epoch, the largest relative deviation of its metrics, or of an earlier epoch's.

    Accuracies are left out: an input between two labels moves them by a step.
    """
    largest, found = 0.0, []
    for row, other in zip(rows, exact, strict=True):
        names = [n for n in other if "accuracy" not in n and n not in ("epoch", "seconds")]
        apart = (abs(row[n] - other[n]) / max(abs(other[n]), 1e-3) for n in names)
        largest = max(largest, *apart)
        found.append(largest)
    return found
