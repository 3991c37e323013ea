"""An experiment of a few lines, whose runs do as their keys say: for tests of everything else."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from common.config.base import INPUT_FILE, OptionalText
from common.config.fit import FitConfig
from common.errors import UserError
from common.experiment import Context, Experiment
from common.training.fit_experiment import FitExperiment
from common.training.optimizers import Adam
from common.training.trainer import Trainer

GATED = 5
"""First epoch that waits for the file of the key ``gate``."""


class ToyConfig(FitConfig):
    """Fits y = 2x."""

    lr: float = 0.1
    """Step size."""
    fail_at: int | None = None
    """Epoch whose first batch raises."""
    refuse: bool = False
    """Whether the run finds something that the user can mend."""
    kill_at: int | None = None
    """Epoch at whose first batch the process kills itself, once per run."""
    nan_at: int | None = None
    """Epoch from which the loss is not a number."""
    pause: float = 0.0
    """Seconds that each epoch waits."""
    gate: str = ""
    """A file that the epochs from `GATED` on wait for, unless the run is to stop."""
    start: Annotated[OptionalText, INPUT_FILE] = None
    """A file of an earlier stage."""

    def metric_names(self) -> list[str]:
        """The one metric, on training and test data."""
        return ["train loss", "test loss"]


class ToyTrainer(Trainer[Tensor]):
    def __init__(self, config: ToyConfig, context: Context, model: nn.Module) -> None:
        optimizer = Adam(model.parameters(), lr=config.lr)  # as the project's own: no compiler
        super().__init__(model, optimizer, validate_every=config.validate_every)
        self.config = config
        self.context = context

    def batches(self) -> Iterable[Tensor]:
        config = self.config
        time.sleep(config.pause)
        while self.epoch >= GATED and not self._may_go_on():
            time.sleep(0.01)
        if self.epoch == config.fail_at:
            raise ZeroDivisionError("as the plan says")
        marker = self.context.folder.path / "killed"
        if self.epoch == config.kill_at and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.randn(2, 8, 1).unbind()

    def _may_go_on(self) -> bool:
        gate = self.config.gate
        return not gate or Path(gate).exists() or self.context.stop_requested()

    def train_step(self, batch: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
        loss = (self.model(batch) - 2 * batch).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.config.nan_at is not None and self.epoch >= self.config.nan_at:
            loss = loss * float("nan")
        return {"train loss": loss.detach()}, {}

    def validate(self) -> dict[str, float]:
        return {"test loss": float((self.model(torch.ones(1, 1)) - 2).square().sum().detach())}


class ToyExperiment(FitExperiment[ToyConfig, None]):
    def make_data(self) -> None:
        if self.config.refuse:
            raise UserError("mend it")

    def make_model(self, data: None) -> nn.Module:
        return nn.Linear(1, 1)

    def make_trainer(self, data: None, model: nn.Module) -> ToyTrainer:
        return ToyTrainer(self.config, self.context, model)


def run(config: ToyConfig, context: Context) -> float | None:
    return ToyExperiment(config, context).run()


def preflight(runs: object) -> list[object]:
    return []


EXPERIMENT = Experiment(
    config=ToyConfig,
    run="tests.toy:run",
    preflight="tests.toy:preflight",
    files={"checkpoint": "checkpoints/last.pt"},
)
