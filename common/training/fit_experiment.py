"""The template of a run that fits a model: seeds, data, model, trainer, resume, fit, score."""

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
    """Subclasses say what the data, the model and the trainer are."""

    def __init__(self, config: ConfigT, context: Context) -> None:
        self.config = config
        self.context = context
        self.folder = context.folder
        self.gpu_ids = run_gpus(context.gpu_ids)
        self.device = run_device(context.gpu_ids)

    @abstractmethod
    def make_data(self) -> DataT:
        """The data, as tensors on the run's device."""

    @abstractmethod
    def make_model(self, data: DataT) -> nn.Module:
        """The model with its initial weights, on the run's device."""

    @abstractmethod
    def make_trainer(self, data: DataT, model: nn.Module) -> Trainer[Any]:
        """The trainer of ``model`` on ``data``."""

    def measure(self, data: DataT, trainer: Trainer[Any]) -> None:
        """Writes tables about the model as it stands; before the first and after the last epoch.

        ``trainer.weights_epoch`` says how many epochs it has seen.
        """

    def run(self) -> float | None:
        """Makes the run, or what is left of it; gives its score."""
        data, trainer = self.prepare()
        trainer.fit(self.config.epochs)
        return self.conclude(data, trainer)

    def prepare(self) -> tuple[DataT, Trainer[Any]]:
        """Seeds the generators; gives the data and a trainer that stands where the run goes on."""
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
        """Writes what follows the last epoch; gives the score."""
        self.measure(data, trainer)
        return self._summarise(trainer)

    def load_weights(self, model: nn.Module, path: str, facts: Mapping[str, Any]) -> None:
        """Puts the weights of a checkpoint into ``model``; warns where it was made with other data.

        Raises:
            UserError: the checkpoint cannot be read or does not fit; layers are named.
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
        """What ranks this run."""
        name = self.config.score_metric_name
        return None if name is None else Score(name, self.config.score_largest)

    def callbacks(self) -> list[Callback]:
        """What watches the fit, `Checkpoints` last."""
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
        """Loads the run's own last state, else the one that ``trainer_checkpoint`` names.

        Gives whether this run has been under way before.
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
        """Takes over the training state of another run.

        Raises:
            UserError: it cannot be read, does not fit, or leaves nothing to do.
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
        """Which file lacks what was measured before ``epoch`` and cannot be measured any more."""
        if self._metrics_reach(epoch):
            return None
        return f"{self.folder.metrics} lacks epochs that its checkpoint has seen"

    def _metrics_reach(self, epoch: int) -> bool:
        """Whether the metrics file holds every epoch before ``epoch`` that this run has made."""
        found = [row["epoch"] for row in read_json_lines(self.folder.metrics, EPOCH_ROW)]
        made = [number for number in found if number < epoch]
        started_at = 0 if self.config.trainer_checkpoint is None else min(made, default=epoch)
        return made == list(range(started_at, epoch))

    def _summarise(self, trainer: Trainer[Any]) -> float | None:
        """Writes ``summary.json`` and gives the score."""
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
    """What keeps a trainer from going on from ``state``; None where nothing does."""
    problem = training_state.why_no_training_state(state, trainer.optimizer)
    return problem or checkpoint.misfit(trainer.model, checkpoint.weights(state))
