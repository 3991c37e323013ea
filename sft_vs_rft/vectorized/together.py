"""Several controlled runs made together, each with its own folder, data, seeds and end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from common.experiment import Member
from common.training.seeding import RngStream
from common.training.shuffle import pass_over_loader
from common.training.trainer import Callback
from sft_vs_rft.data.run_data import Data
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.methods import label_noise
from sft_vs_rft.trainer import ControlledTrainer
from sft_vs_rft.vectorized.means import StackedReport
from sft_vs_rft.vectorized.members import MemberFit, make_together
from sft_vs_rft.vectorized.trainer import StackedTrainer


def run_together(members: Sequence[Member]) -> None:
    """Make controlled runs with equal ``vectorize_key()`` in their folders; end each of them."""
    make_together(members, lambda member, fits: Fit(member, sharing_inputs_with=fits), _Training())


class _Training:
    """Training of fits epoch by epoch, stacked anew where one of them ends."""

    def __init__(self) -> None:
        self._fits: Sequence[Fit] = []
        self._stacked: StackedTrainer | None = None

    def __call__(self, fits: Sequence[Fit]) -> None:
        """Train one epoch of ``fits``."""
        if self._stacked is None or fits != self._fits:
            self._fits, self._stacked = fits, StackedTrainer([fit.trainer for fit in fits])
        train_epoch(fits, self._stacked)


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


class Fit(MemberFit[ControlledTrainer]):
    """One controlled run of several, with its own stream of random numbers."""

    data: Data

    def __init__(self, member: Member, *, sharing_inputs_with: Sequence[Fit] = ()) -> None:
        """Prepare the run; inputs that another run has drawn too are stored once."""
        experiment = ControlledExperiment(member.config, member.context)
        super().__init__(member, experiment)
        trainer = self.trainer
        others = [other.data for other in sharing_inputs_with]
        self.data = trainer.data = experiment.data = _sharing(self.data, others)
        self._stream = RngStream(trainer.gpu_ids)
        trainer.random_state = self._stream.state
        self._watching_steps = [
            callback
            for callback in trainer.callbacks
            if type(callback).on_step_end is not Callback.on_step_end
        ]

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


def _sharing(data: Data, others: Sequence[Data]) -> Data:
    """Return the data, with the inputs of the first of ``others`` that drew the same ones."""
    for part in ("train", "test"):
        for other in others:
            if data.record[f"{part}_indices"] == other.record[f"{part}_indices"]:
                data = replace(data, **{f"{part}_inputs": getattr(other, f"{part}_inputs")})
                break
    return data
