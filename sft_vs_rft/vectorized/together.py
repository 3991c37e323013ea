"""Makes several controlled runs together, each with its own folder, data, seeds and end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from common.batches import pass_over_loader, shuffled
from common.callbacks import Callback
from common.experiment import Member
from common.metrics import NonFiniteError
from common.seeding import Stream
from sft_vs_rft.data import Data
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.trainer import ControlledTrainer
from sft_vs_rft.vectorized.means import StackedReport
from sft_vs_rft.vectorized.trainer import StackedTrainer


def run_together(members: Sequence[Member]) -> None:
    """Makes controlled runs with equal ``vectorize_key()`` in their folders; ends each of them."""
    fits: list[Fit] = []
    try:
        for member in members:
            with member.on_its_own():
                fits.append(Fit(member, sharing_inputs_with=fits))
        fit_together(fits)
        for fit in fits:
            fit.conclude()
    finally:
        for fit in fits:
            fit.trainer.close()


def fit_together(fits: Sequence[Fit]) -> None:
    """Trains all fits that are not over until their last epochs.

    They need not stand at the same epoch: after a kill the last checkpoints may differ in that.
    """
    for fit in fits:
        fit.begin()
    training: list[Fit] = []
    while going := [fit for fit in fits if fit.goes_on]:
        if going != training:
            training = going
            stacked = StackedTrainer([fit.trainer for fit in training])
        _train_epoch(training, stacked)


def _train_epoch(fits: Sequence[Fit], stacked: StackedTrainer) -> None:
    started = time.perf_counter()
    orders = torch.stack([fit.draw_order() for fit in fits])  # [R, N]

    def on_step(step: int, report: StackedReport) -> None:
        for row, fit in enumerate(fits):
            fit.end_step(step, report, row)

    trained = stacked.train_epoch(orders, on_step)
    validating = any(fit.validates for fit in fits)
    validated = stacked.validate() if validating else []
    seconds = time.perf_counter() - started
    for row, fit in enumerate(fits):
        fit.end_epoch([trained[row], *([validated[row]] if fit.validates else [])], seconds)


class Fit:
    """One run of several: its data and its trainer, and its own stream of random numbers."""

    data: Data
    trainer: ControlledTrainer

    def __init__(self, member: Member, *, sharing_inputs_with: Sequence[Fit] = ()) -> None:
        """Prepares the run; inputs that another run has drawn too are kept once."""
        self._member = member
        self._experiment = ControlledExperiment(member.config, member.context)
        data, trainer = self._experiment.prepare()
        assert isinstance(trainer, ControlledTrainer)
        self.data = trainer.data = _sharing(data, [other.data for other in sharing_inputs_with])
        self.trainer = trainer
        self._stream = Stream()
        trainer.random_state = self._stream.state
        self.epochs = member.config.epochs
        self._watching_steps = [
            callback
            for callback in trainer.callbacks
            if type(callback).on_step_end is not Callback.on_step_end
        ]

    @property
    def goes_on(self) -> bool:
        """Whether the run is not over and has another epoch before it."""
        return not self._member.is_over and self.trainer.goes_on(self.epochs)

    @property
    def validates(self) -> bool:
        """Whether the present epoch ends with a validation."""
        return self.trainer.validates(self.epochs)

    def begin(self) -> None:
        """Tells the callbacks that the fit starts."""
        with self._member.on_its_own():
            self.trainer.begin()

    def draw_order(self) -> torch.Tensor:
        """[N] order of the inputs in the present epoch.

        With it everything is drawn that the run alone would draw in the epoch, in its order.
        """
        with self._stream.active():
            order = shuffled(len(self.data.changed))
            if self.validates:
                pass_over_loader()
        return order

    def end_step(self, step: int, report: StackedReport, row: int) -> None:
        """Tells the callbacks of a batch; the run's part of ``report`` is its ``row``."""
        with self._member.on_its_own():
            for callback in self._watching_steps:
                callback.on_step_end(self.trainer, step, report.of_run(row))

    def end_epoch(
        self, results: Iterable[dict[str, float] | NonFiniteError], seconds: float
    ) -> None:
        """Tells the callbacks of an epoch; ends the run where a number is not finite."""
        with self._member.on_its_own():
            metrics: dict[str, float] = {}
            with self.trainer.naming_the_epoch():
                for result in results:
                    if isinstance(result, NonFiniteError):
                        raise result
                    metrics |= result
            self.trainer.end_epoch(metrics, seconds)

    def conclude(self) -> None:
        """Ends the run well, unless it is over."""
        if self._member.is_over:
            return
        with self._member.on_its_own():
            self.trainer.end()
            self._member.done(self._experiment.conclude(self.data, self.trainer))


def _sharing(data: Data, others: Sequence[Data]) -> Data:
    """The data, with the inputs of the first of ``others`` that has drawn the same ones."""
    for part in ("train", "test"):
        for other in others:
            if data.record[f"{part}_indices"] == other.record[f"{part}_indices"]:
                data = replace(data, **{f"{part}_inputs": getattr(other, f"{part}_inputs")})
                break
    return data
