"""Template of a run that fits a model: seeds, data, model, trainer, resume, fit, score."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from common.config.fit import FitConfig
from common.errors import UserError
from common.experiment import Context
from common.machine.devices import run_device, run_gpus
from common.run.folder import read_json_lines
from common.run.records import EPOCH_ROW
from common.run.summary import write_summary
from common.score import Score, best_values, last_values
from common.training import checkpoint, training_state
from common.training.callbacks import Checkpoints, EarlyStopping, MetricsFile, Progress
from common.training.epoch_log import EpochLog
from common.training.seeding import seed_everything
from common.training.trainer import Callback, Trainer
from common.training.writers import writers

log = logging.getLogger(__name__)

ConfigT = TypeVar("ConfigT", bound=FitConfig)
DataT = TypeVar("DataT")


class FitExperiment(ABC, Generic[ConfigT, DataT]):
    """Run that fits a model; subclasses define data, model and trainer."""

    def __init__(self, config: ConfigT, context: Context) -> None:
        self.config = config
        self.context = context
        self.folder = context.folder
        self.gpu_ids = run_gpus(context.gpu_ids)
        self.device = run_device(context.gpu_ids)

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

    def run(self) -> float | None:
        """Make the run, or its remaining part; return its score."""
        data, trainer = self.prepare()
        trainer.fit(self.config.epochs)
        return self.conclude(data, trainer)

    def prepare(self) -> tuple[DataT, Trainer[Any]]:
        """Seed the generators; return the data, and the trainer after a possible resume."""
        seed_everything(self.context.seed)
        data = self.make_data()
        model = self.make_model(data)
        trainer = self.make_trainer(data, model)
        trainer.gpu_ids = self.gpu_ids
        trainer.callbacks = self.callbacks()
        if not self._go_on(trainer):
            self.measure(data, trainer)
        return data, trainer

    def conclude(self, data: DataT, trainer: Trainer[Any]) -> float | None:
        """Write the files after the last epoch; return the score."""
        self.measure(data, trainer)
        return self._summarise(trainer)

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
        """Return the score that ranks this run."""
        name = self.config.score_metric_name
        return None if name is None else Score(name, self.config.score_largest)

    def callbacks(self) -> list[Callback]:
        """Return the callbacks of the fit, `Checkpoints` last."""
        config = self.config
        found: list[Callback] = [
            MetricsFile(self.folder.metrics),
            EpochLog(log, config.epoch_log_interval, config.train_batch_log_interval),
            Progress(self.context.progress, config.epochs),
            *writers(config, self.folder),
        ]
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
            self.context.stop_requested,
            keep=config.num_checkpoints if config.save_checkpoints else 0,
            every=config.validate_every * config.save_every_num_val,
            by_score=self.score if config.save_checkpoints_by_score else None,
        )
        return [*found, checkpoints]

    def _go_on(self, trainer: Trainer[Any]) -> bool:
        """Load the run's own last state, else the one that ``trainer_checkpoint`` names.

        Return whether this run had started before.
        """
        own = checkpoint.load_last(self.folder.checkpoints, lambda state: _unfit(state, trainer))
        lost = None if own is None else self.lost_record(own["epoch"])
        if lost is not None:
            log.warning("%s; the run begins anew", lost)
            own = None
        if own is not None:
            with training_state.taking(self.folder.checkpoints / checkpoint.LAST):
                trainer.load_state(own)
            log.info("going on after %d epochs", trainer.epoch)
        elif self.config.trainer_checkpoint is not None:
            self._go_on_from(self.config.trainer_checkpoint, trainer)
        return own is not None

    def _go_on_from(self, path: str, trainer: Trainer[Any]) -> None:
        """Load the training state of another run.

        Raises:
            UserError: the state cannot be read, does not fit, or leaves nothing to train.
        """
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

    def lost_record(self, epoch: int) -> str | None:
        """Return the file that lacks measurements before ``epoch`` which cannot be repeated."""
        if self._metrics_reach(epoch):
            return None
        return f"{self.folder.metrics} lacks epochs that its checkpoint has seen"

    def _metrics_reach(self, epoch: int) -> bool:
        """Return whether the metrics file has all of this run's epochs before ``epoch``."""
        found = [row["epoch"] for row in read_json_lines(self.folder.metrics, EPOCH_ROW)]
        made = [number for number in found if number < epoch]
        started_at = 0 if self.config.trainer_checkpoint is None else min(made, default=epoch)
        return made == list(range(started_at, epoch))

    def _summarise(self, trainer: Trainer[Any]) -> float | None:
        """Write ``summary.json`` and return the score."""
        rows = read_json_lines(self.folder.metrics, EPOCH_ROW)
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
        )
        return value


def _unfit(state: dict[str, Any], trainer: Trainer[Any]) -> str | None:
    """Return why a trainer cannot continue from ``state``; None if it can."""
    problem = training_state.why_no_training_state(state, trainer.optimizer)
    return problem or checkpoint.misfit(trainer.model, checkpoint.weights(state))
