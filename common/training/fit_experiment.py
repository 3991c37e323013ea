"""Template of a run that fits a model: seeds, data, model, trainer, resume, fit, score."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from common.config.fit import FitConfig
from common.errors import UserError
from common.run.summary import write_summary
from common.score import Score, best_values, last_values
from common.training import checkpoint, training_state
from common.training.callbacks import Checkpoints, EarlyStopping, Tracking
from common.training.epoch_log import EpochLog
from common.training.external_trackers import Row
from common.training.metric_plots import MetricPlots
from common.training.stepwise_run import StepwiseRun
from common.training.trainer import Callback, Trainer

log = logging.getLogger(__name__)

FitConfigT = TypeVar("FitConfigT", bound=FitConfig)
DataT = TypeVar("DataT")


class FitExperiment(StepwiseRun[FitConfigT, checkpoint.State], Generic[FitConfigT, DataT]):
    """Run in epochs; subclasses define the data, the model and the trainer."""

    unit = "epoch"
    position = "epoch"

    data: DataT
    trainer: Trainer[Any]
    _epoch_started = 0.0

    @abstractmethod
    def make_data(self) -> DataT:
        """Return the data, as tensors on the run's device."""

    @abstractmethod
    def make_model(self, data: DataT) -> nn.Module:
        """Return the model with its initial weights, on the run's device."""

    @abstractmethod
    def make_trainer(self, data: DataT, model: nn.Module) -> Trainer[Any]:
        """Return the trainer of ``model`` on ``data``."""

    def measure(self, data: DataT, trainer: Trainer[Any]) -> None:
        """Write tables about the present model, before the first and after the last epoch.

        ``trainer.weights_epoch`` is the number of epochs that it was trained for.
        """

    # Data and model, and what an earlier attempt has left.

    def load_data(self) -> None:
        """Make the data."""
        self.data = self.make_data()

    def build_model(self) -> None:
        """Make the model and its trainer."""
        self.trainer = self.make_trainer(self.data, self.make_model(self.data))
        self.trainer.gpu_ids = self.gpu_ids
        self.trainer.callbacks = self.callbacks()

    def prepare(self) -> tuple[DataT, Trainer[Any]]:
        """Return the data and a trainer that stands where the run begins, or is resumed."""
        self.set_up()
        self.restore()
        return self.data, self.trainer

    def restore(self) -> None:
        """Resume from the run's own last state, else from what ``trainer_checkpoint`` names."""
        super().restore()
        if self.saved_step is None and self.config.trainer_checkpoint is not None:
            self._take_over(self.config.trainer_checkpoint)

    def load_last_state(self) -> checkpoint.State | None:
        """Return the last good checkpoint."""
        return checkpoint.load_last(
            self.folder.checkpoints, lambda state: _unfit(state, self.trainer)
        )

    def lost_record(self, state: checkpoint.State) -> str | None:
        """Return which rows are lost of the epochs before ``state`` that this run has made."""
        epoch: int = state["epoch"]
        made = [row["epoch"] for row in self.tracker.rows() if row["epoch"] < epoch]
        started_at = 0 if self.config.trainer_checkpoint is None else min(made, default=epoch)
        return self.tracker.lost_rows(self.epochs_with_rows(range(started_at, epoch)))

    def epochs_with_rows(self, epochs: range) -> Iterable[int]:
        """Return those of the finished ``epochs`` that have rows of metrics: all of them."""
        return epochs

    def load_state(self, state: checkpoint.State) -> None:
        """Put the trainer where it was saved."""
        self.trainer.load_state(state)
        self.steps_done = self.trainer.epoch

    def keeps_row(self, row: Row) -> bool:
        """Return whether a row is of a finished epoch."""
        return bool(row["epoch"] < self.steps_done)

    def watched_model(self) -> nn.Module:
        """Return the model."""
        return self.trainer.model

    # Epochs.

    @property
    def num_steps(self) -> int:
        """Epochs of the whole run."""
        return self.config.epochs

    def has_steps_left(self) -> bool:
        """Return whether there is another epoch, which early stopping may deny."""
        return self.trainer.goes_on(self.config.epochs)

    def measure_start(self) -> None:
        """Measure before the first epoch, and make sure that there is a finite state."""
        is_resumed = self.saved_step is not None
        if not is_resumed:
            self.measure(self.data, self.trainer)
        self.trainer.begin()
        if not is_resumed:
            self.save()

    def step(self) -> dict[str, float]:
        """Train for one epoch."""
        self._epoch_started = time.perf_counter()
        return self.trainer.train_epoch()

    def evaluate_on_the_way(self) -> dict[str, float]:
        """Return the metrics on the test inputs, every ``validate_every`` epochs."""
        return self.trainer.validate_if_due(self.config.epochs)

    def record(self, values: Mapping[str, float]) -> None:
        """Count the epoch, and give its metrics to the callbacks."""
        self._measured |= self.shown(values)
        self.end_epoch(values, time.perf_counter() - self._epoch_started)

    def end_epoch(self, metrics: Mapping[str, float], seconds: float) -> None:
        """Count an epoch that has taken so long, and give its metrics to the callbacks."""
        self.trainer.end_epoch(metrics, seconds)
        self.steps_done = self.trainer.epoch

    def shown(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the metric that is the score."""
        name = self.config.score_metric_name
        return {name: values[name]} if name is not None and name in values else {}

    def save_state(self) -> None:
        """Write the last checkpoint, and keep the one before it."""
        checkpoint.save_last(self.folder.checkpoints, self.trainer.state())
        self.trainer.saved_epoch = self.trainer.epoch

    def end_steps(self) -> None:
        """Notify the callbacks, which may restore other weights, and write the last checkpoint."""
        self.trainer.end()
        self.save()

    def conclude(self) -> float | None:
        """Measure after the last epoch; write the summary and return the score."""
        self.measure(self.data, self.trainer)
        score = self.summarise(self.evaluate_end())
        self.tracker.upload_files()
        return score

    def close(self) -> None:
        """Close the files of callbacks, and those of metrics."""
        self.trainer.close()
        super().close()

    def load_weights(self, model: nn.Module, path: str, facts: Mapping[str, Any]) -> None:
        """Load a checkpoint's weights into ``model``; warn if it was made with other data.

        Raises:
            UserError: the checkpoint cannot be read or does not fit; the message names layers.
        """
        try:
            state = checkpoint.load(Path(path))
            weights = checkpoint.weights(state)
            problem = checkpoint.misfit(model, weights)
            if problem:
                raise UserError(problem)
        except UserError as error:
            raise UserError(f"'load_model_from_checkpoint' = '{path}': {error}") from None
        model.load_state_dict(weights)
        made_with = state.get("facts", {})
        for key in sorted(facts.keys() & made_with.keys()):
            if facts[key] != made_with[key]:
                log.warning(
                    "%s was made with '%s' = %s, this run has %s: it may meet inputs or labels "
                    "that the checkpoint has not seen", path, key, made_with[key], facts[key],
                )  # fmt: skip

    @property
    def score(self) -> Score | None:
        """Score that ranks this run."""
        name = self.config.score_metric_name
        return None if name is None else Score(name, self.config.score_largest)

    def callbacks(self) -> list[Callback]:
        """Return the callbacks of the fit, `Checkpoints` last."""
        config = self.config
        found: list[Callback] = [
            Tracking(self.tracker),
            EpochLog(log, config.epoch_log_interval, config.train_batch_log_interval),
        ]
        if config.save_metric_plots:
            every = config.validate_every * config.save_every_num_val
            found.append(MetricPlots(self.folder, every))
        if config.early_stop and self.score:
            found.append(
                EarlyStopping(
                    self.score,
                    min_delta=config.early_stop_min_delta,
                    patience=config.early_stop_patience,
                    cooldown=config.early_stop_cooldown,
                    restore_best=config.early_stop_restore_best_weights,
                    every=config.validate_every,
                )
            )
        checkpoints = Checkpoints(
            self.folder.checkpoints,
            keep=config.num_checkpoints if config.save_checkpoints else 0,
            every=config.validate_every * config.save_every_num_val,
            by_score=self.score if config.save_checkpoints_by_score else None,
        )
        return [*found, checkpoints]

    def _take_over(self, path: str) -> None:
        """Take over the training state of another run.

        Raises:
            UserError: the state cannot be read, does not fit, or leaves nothing to train.
        """
        trainer = self.trainer
        try:
            state = checkpoint.load(Path(path))
            problem = training_state.why_not_to_go_on(state, self.config.epochs, trainer.optimizer)
            problem = problem or checkpoint.misfit(trainer.model, checkpoint.weights(state))
            if problem:
                raise UserError(problem)
        except UserError as error:
            raise UserError(f"'trainer_checkpoint' = '{path}': {error}") from None
        # Why and how far another run had waited to stop is no concern of this one.
        trainer.load_state({**state, "stop_reason": None, "callbacks": {}})
        self.steps_done = trainer.epoch

    def summarise(self, found: Mapping[str, float]) -> float | None:
        """Write ``summary.json`` from the rows of all epochs and ``found``; return the score."""
        trainer = self.trainer
        rows = self.tracker.rows()
        last = last_values([row for row in rows if row["epoch"] < trainer.weights_epoch])
        best = best_values(rows, self.score) if self.score else {}
        chosen = best if self.config.return_best_score else last
        value = self.score.of(chosen) if self.score else None
        write_summary(
            self.folder,
            value,
            self.config.score_metric_name,
            epochs_trained=trainer.weights_epoch,
            stop_reason=trainer.stop_reason,
            last=last,
            best=best,
            **found,
        )
        return value


def _unfit(state: dict[str, Any], trainer: Trainer[Any]) -> str | None:
    """Return why a trainer cannot continue from ``state``; None if it can."""
    problem = training_state.why_no_training_state(state, trainer.optimizer)
    return problem or checkpoint.misfit(trainer.model, checkpoint.weights(state))
