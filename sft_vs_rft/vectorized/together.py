"""Several controlled runs made together, each with its own folder, data, seeds and end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from common.experiment import Member
from common.training.epoch_means import NonFiniteError
from common.training.seeding import RngStream
from common.training.shuffle import pass_over_loader
from common.training.trainer import Callback
from sft_vs_rft.data.run_data import Data
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.methods import label_noise
from sft_vs_rft.trainer import ControlledTrainer
from sft_vs_rft.vectorized.means import StackedReport
from sft_vs_rft.vectorized.trainer import StackedTrainer


def run_together(members: Sequence[Member]) -> None:
    """Make controlled runs with equal ``vectorize_key()`` in their folders, and end each of them.

    They need not be at the same epoch: after a kill, their last checkpoints may differ.
    """
    fits: list[Fit] = []
    try:
        for member in members:
            with member.on_its_own():
                fits.append(Fit(member, sharing_inputs_with=fits))
        for fit in fits:
            fit.begin()
        training: list[Fit] = []
        while going := _still_going(fits):
            if going != training:
                training = going
                stacked = StackedTrainer([fit.trainer for fit in training])
            train_epoch(training, stacked)
            min(training, key=lambda fit: fit.trainer.epoch).tell_progress()
    finally:
        for fit in fits:
            fit.close()


def _still_going(fits: Sequence[Fit]) -> list[Fit]:
    """Return the fits that have another epoch to train; the others end."""
    for fit in fits:
        if not fit.goes_on:
            fit.conclude()
    return [fit for fit in fits if fit.goes_on]


def train_epoch(fits: Sequence[Fit], stacked: StackedTrainer) -> None:
    """Train one epoch of fits whose trainers are ``stacked``."""
    started = time.perf_counter()
    drawn = [fit.draw_epoch() for fit in fits]
    orders = torch.stack([order for order, _ in drawn])  # [R, N]
    noises = [noise for _, noise in drawn if noise is not None]
    noise = torch.stack(noises) if noises else None  # [R, N, C]

    def on_step(step: int, report: StackedReport) -> None:
        for row, fit in enumerate(fits):
            fit.end_step(step, report, row)

    trained = stacked.train_epoch(orders, noise, on_step)
    validated = stacked.validate() if any(fit.validates for fit in fits) else []
    seconds = time.perf_counter() - started
    for row, fit in enumerate(fits):
        fit.end_epoch([trained[row], *([validated[row]] if fit.validates else [])], seconds)


class Fit:
    """One run of several: its data, its trainer, and its own stream of random numbers."""

    data: Data
    trainer: ControlledTrainer

    def __init__(self, member: Member, *, sharing_inputs_with: Sequence[Fit] = ()) -> None:
        """Prepare the run; inputs that another run has drawn too are stored once."""
        self._member = member
        self._experiment = ControlledExperiment(member.config, member.context)
        data, trainer = self._experiment.prepare()
        assert isinstance(trainer, ControlledTrainer)
        self.data = trainer.data = _sharing(data, [other.data for other in sharing_inputs_with])
        self._experiment.data = self.data
        self.trainer = trainer
        self._stream = RngStream(trainer.gpu_ids)
        trainer.random_state = self._stream.state
        self._watching_steps = [
            callback
            for callback in trainer.callbacks
            if type(callback).on_step_end is not Callback.on_step_end
        ]

    @property
    def goes_on(self) -> bool:
        """True if the run is not over and has another epoch to train."""
        return not self._member.is_over and self.trainer.goes_on(self._member.config.epochs)

    @property
    def validates(self) -> bool:
        """True if the present epoch ends with a validation."""
        return self.trainer.validates(self._member.config.epochs)

    def begin(self) -> None:
        """Measure before the first epoch, and notify the callbacks that the fit starts."""
        with self._member.on_its_own():
            self._experiment.measure_start()

    def tell_progress(self) -> None:
        """Notify the callbacks of the number of finished epochs of this run."""
        self._member.context.progress(self.trainer.epoch, self._member.config.epochs)

    def draw_epoch(self) -> tuple[Tensor, Tensor | None]:
        """Draw the random numbers that the run alone would draw in this epoch, in the same order.

        Returns:
            [N] order of the inputs, on the CPU, where in each batch the changed ones come first,
            and [N, C] noise of the labels in that order, where labels are drawn.
        """
        with self._stream.active():
            batches = [(batch.changed, batch.others) for batch in self.trainer.batches()]
            order = torch.cat([part for batch in batches for part in batch])
            noise = None
            if self.trainer.method.sampled:
                like = self.trainer.rewards  # [N, C]
                passes = [len(part) for batch in batches for part in batch if len(part)]
                noise = torch.cat([label_noise(n, like.shape[1], like.device) for n in passes])
            if self.validates:
                pass_over_loader()
        return order, noise

    def end_step(self, step: int, report: StackedReport, row: int) -> None:
        """Notify the callbacks of a batch; the run's part of ``report`` is its ``row``."""
        if self._member.is_over:
            return
        with self._member.on_its_own():
            for callback in self._watching_steps:
                callback.on_step_end(self.trainer, step, report.of_run(row))

    def end_epoch(
        self, results: Iterable[dict[str, float] | NonFiniteError], seconds: float
    ) -> None:
        """Notify the callbacks of an epoch; end the run if a number is not finite."""
        if self._member.is_over:
            return
        with self._member.on_its_own():
            metrics: dict[str, float] = {}
            with self.trainer.naming_the_epoch():
                for result in results:
                    if isinstance(result, NonFiniteError):
                        raise result
                    metrics |= result
            self._experiment.end_epoch(metrics, seconds)
            self._experiment.save_if_due()

    def conclude(self) -> None:
        """End the run successfully, unless it is over."""
        if self._member.is_over:
            return
        with self._member.on_its_own():
            self._experiment.end_steps()
            self._member.done(self._experiment.conclude())

    def close(self) -> None:
        """Close the run's files, however it ends."""
        self._experiment.close()


def _sharing(data: Data, others: Sequence[Data]) -> Data:
    """Return the data, with the inputs of the first of ``others`` that drew the same ones."""
    for part in ("train", "test"):
        for other in others:
            if data.record[f"{part}_indices"] == other.record[f"{part}_indices"]:
                data = replace(data, **{f"{part}_inputs": getattr(other, f"{part}_inputs")})
                break
    return data
