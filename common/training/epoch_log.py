"""Log lines of a fit."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from common.training.trainer import Callback

if TYPE_CHECKING:
    from common.training.trainer import Trainer


class EpochLog(Callback):
    """Logger of the metrics of every ``epochs``-th epoch, and of every ``batches``-th batch.

    The host does not wait for a GPU: a batch's line is logged once its numbers have arrived, some
    batches later or at the end of the epoch.
    """

    def __init__(self, log: logging.Logger, epochs: int | None, batches: int | None) -> None:
        self.log = log
        self.epochs = epochs
        self.batches = batches
        self._waiting: deque[tuple[int, Readout]] = deque()

    def on_step_end(self, trainer: Trainer[Any], step: int, report: Mapping[str, Tensor]) -> None:
        """Take the batch's scalars if they are due, and log those that have arrived."""
        if self.batches and (step + 1) % self.batches == 0:
            self._waiting.append((step, Readout(report)))
        while self._waiting and self._waiting[0][1].has_arrived:
            self._log_batch(trainer.epoch)

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Log the remaining batches, and the epoch's metrics."""
        while self._waiting:
            self._log_batch(metrics["epoch"])
        if self.epochs and trainer.epoch % self.epochs == 0 and self.log.isEnabledFor(logging.INFO):
            self.log.info("%s", _shown(metrics))

    def _log_batch(self, epoch: int) -> None:
        step, readout = self._waiting.popleft()
        self.log.info("epoch %d, batch %d: %s", epoch, step, _shown(readout.values()))


class Readout:
    """Scalars on their way from the device."""

    def __init__(self, report: Mapping[str, Tensor]) -> None:
        self._names = list(report)
        scalars = torch.stack([value.detach() for value in report.values()])
        self._values = scalars.to("cpu", non_blocking=True)
        self._arrival: torch.cuda.Event | None = None
        if scalars.is_cuda:
            self._arrival = torch.cuda.current_stream(scalars.device).record_event()

    @property
    def has_arrived(self) -> bool:
        """True if `values` need not wait."""
        return self._arrival is None or bool(self._arrival.query())

    def values(self) -> dict[str, float]:
        """Return the scalars by name."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return dict(zip(self._names, self._values.tolist(), strict=True))


def _shown(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in values.items())
