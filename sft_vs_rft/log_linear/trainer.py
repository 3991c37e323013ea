"""Trainer of log-linear policies: the updates from one row of metrics to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.training.optimizers import SGD, Adam
from common.training.trainer import Trainer
from sft_vs_rft.log_linear.config import LogLinearConfig
from sft_vs_rft.log_linear.logged_updates import next_logged
from sft_vs_rft.log_linear.objective import Objective, Task
from sft_vs_rft.log_linear.optimizers import OPTIMIZERS
from sft_vs_rft.log_linear.uniforms import Uniforms

_OPTIMIZERS = {"sgd": SGD, "adam": Adam}


class LogLinearPolicy(nn.Module):
    """Weights of a policy, as checkpoints and optimizers know them."""

    def __init__(self, weights: np.ndarray) -> None:
        """Take over ``weights`` [D]."""
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(weights), requires_grad=False)


class LogLinearTrainer(Trainer[int]):
    """Trainer whose every step is a batch of updates, from one row of metrics to the next."""

    model: LogLinearPolicy

    def __init__(self, task: Task, model: LogLinearPolicy, seed: int) -> None:
        """Set up the trainer; ``seed`` is the root of the outputs that are drawn."""
        config = task.config
        kind: type[SGD | Adam] = _OPTIMIZERS[config.optimizer]
        optimizer = kind([model.weights], lr=config.lr)
        super().__init__(model, optimizer, validate_every=config.validate_every)
        self.config: LogLinearConfig = config
        self.task = task
        self.seed = seed
        self.updates_to_target: int | None = None
        """Updates until the ground truth reward first reached ``target_reward``."""

    @property
    def next_epoch(self) -> int:
        """Number of updates after which the next row of metrics is due."""
        config = self.config
        return next_logged(self.epoch, config.epochs, every=config.log_every_update)

    def batches(self) -> Iterator[int]:
        """Yield the number of updates until the next row."""
        yield self.next_epoch - self.epoch

    def train_step(self, batch: int) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Make as many updates; return what the first of them measured."""
        (metrics,) = Stack([self]).train(batch)
        return {
            name: torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()
        }, {}

    def validate(self) -> dict[str, float]:
        """Return nothing: there are no test inputs."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return the state to resume from."""
        return super().state() | {"updates_to_target": self.updates_to_target}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        super().load_state(state)
        self.updates_to_target = state["updates_to_target"]


class Stack:
    """Trainers of R runs, at the same update, as one batch.

    Their weights and optimizer states become views of stacked ones, so that each trainer's own
    state stays valid. A run's numbers are bit for bit those that it has alone.
    """

    def __init__(self, trainers: Sequence[LogLinearTrainer]) -> None:
        self._trainers = trainers
        self._objective = Objective([trainer.task for trainer in trainers])
        self._weights = np.stack([trainer.model.weights.numpy() for trainer in trainers])  # [R, D]
        for row, trainer in zip(self._weights, trainers, strict=True):
            trainer.model.weights.data = torch.from_numpy(row)
        config = trainers[0].config
        self._optimizer = OPTIMIZERS[config.optimizer](
            self._weights, [trainer.optimizer for trainer in trainers]
        )
        self._uniforms = None
        if not config.use_expected_reinforce_updates:
            seeds = [trainer.seed for trainer in trainers]
            self._uniforms = Uniforms(seeds, trainers[0].task.setting.shape[0])

    def train(self, updates: int) -> list[dict[str, float]]:
        """Make ``updates`` updates; return the metrics of each run at the first of them."""
        first = self._trainers[0].epoch
        path = np.empty((updates, *self._weights.shape), self._weights.dtype)  # [S, R, D]
        metrics: dict[str, np.ndarray] = {}
        with np.errstate(all="ignore"):  # metrics that are not finite end a run
            for step in range(updates):
                path[step] = self._weights
                moment = self._objective.at(self._weights, self._drawn(first + step))
                if step == 0:
                    metrics = self._objective.measure(self._weights, moment)
                self._optimizer.step(self._objective.gradient(moment))
            self._look_for_target(path)
        columns = {name: values.tolist() for name, values in metrics.items()}
        return [
            {name: values[row] for name, values in columns.items()}
            for row in range(len(self._trainers))
        ]

    def _drawn(self, update: int) -> np.ndarray | None:
        return None if self._uniforms is None else self._uniforms.of(update)

    def _look_for_target(self, path: np.ndarray) -> None:
        """Note the first update on the ``path`` [S, R, D] at which runs reach their target."""
        if all(trainer.updates_to_target is not None for trainer in self._trainers):
            return
        reward = self._objective.expected_truth(path)  # [S, R]
        for trainer, values in zip(self._trainers, reward.T, strict=True):
            reached = values >= trainer.config.target_reward
            if trainer.updates_to_target is None and reached.any():
                trainer.updates_to_target = trainer.epoch + int(reached.argmax())
