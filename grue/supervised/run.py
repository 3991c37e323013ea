"""Template of a run whose steps are the transformers Trainer's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from common.experiment import Context
from grue.models.config import Optimizer
from grue.runs.text_run import TextConfigT, TextRun
from grue.supervised import checkpoints
from grue.supervised.arguments import training_arguments
from grue.supervised.trainer import fit


@dataclass(frozen=True)
class Training:
    """The model that the Trainer trains, and its data."""

    model: Any
    """Model that returns a loss for a batch."""
    rows: Any
    """Rows that batches are made of."""
    collator: Callable[[Any], dict[str, torch.Tensor]]
    """Function that makes a batch of rows."""
    optimizer: Optimizer = "adamw"


class TrainerRun(TextRun[TextConfigT, Path]):
    """A run of updates by the Trainer; its state is a folder that the Trainer has written."""

    def __init__(self, config: TextConfigT, context: Context) -> None:
        super().__init__(config, context)
        self.arguments = training_arguments(
            self.given_arguments(), self.folder.checkpoints, seed=context.seed, device=self.device
        )
        self._num_steps = 0
        self._epoch = 0.0

    @abstractmethod
    def given_arguments(self) -> Mapping[str, Any]:
        """Return the Trainer's arguments as the configuration gives them."""

    @abstractmethod
    def training(self) -> Training:
        """Return what is trained, and on what."""

    def tell_of_evaluations(self, count: int) -> None:
        """Tell how long ``count`` evaluations on the way, and those of the end, will take."""

    def measure(self) -> dict[str, float]:
        """Return what is measured of the model at any moment, unless the moments differ."""
        return {}

    def evaluate_start(self) -> dict[str, float]:
        """Return what is measured of the model before training."""
        return self._measure()

    def evaluate_on_the_way(self) -> dict[str, float]:
        """Return what is measured of the model at a log line."""
        return self._measure()

    def evaluate_end(self) -> dict[str, float]:
        """Return what is measured of the trained model."""
        return self._measure()

    def _measure(self) -> dict[str, float]:
        with self.doing("evaluating"):
            return self.measure()

    def load_last_state(self) -> Path | None:
        """Return the last whole checkpoint."""
        return checkpoints.last_good_checkpoint(self.folder.checkpoints)

    def lost_record(self, state: Path) -> str | None:
        """Return which rows are lost of the start and of the log lines before the checkpoint."""
        return self.tracker.lost_rows(checkpoints.steps_measured(state))

    def load_state(self, state: Path) -> None:
        """Count the steps of the checkpoint, which the Trainer itself reads when it begins."""
        self.steps_done = checkpoints.steps_done(state)

    def take_steps(self) -> None:
        """Let the Trainer take the steps that are left; it tells this run of each."""
        training = self.training()
        with self.doing("updating"):
            is_done = fit(
                training.model,
                training.rows,
                training.collator,
                self.arguments,
                self,
                optimizer=training.optimizer,
            )
        if not is_done:
            self.interrupt()

    def begin_steps(self, num_steps: int, num_evaluations: int) -> None:
        """Take up the Trainer's loop."""
        self._num_steps = num_steps
        self.tell_of_evaluations(num_evaluations)

    def count_steps(self, done: int, epoch: float) -> None:
        """Note where the Trainer's loop stands."""
        self.steps_done, self._epoch = done, epoch

    @property
    def epoch(self) -> float:
        """Passes over the training data so far, as the Trainer counts them."""
        return self._epoch

    @property
    def num_steps(self) -> int:
        """Steps of the whole run; 0 before the Trainer has begun."""
        return self._num_steps
