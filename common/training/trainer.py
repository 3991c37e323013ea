"""Epochs of a fit: steps, validation, callbacks, and a state to resume from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from common.training.epoch_means import EpochMeans, NonFiniteError, check_finite, first_not_finite
from common.training.seeding import random_state, restore_random_state

BatchT = TypeVar("BatchT")


class Trainer(ABC, Generic[BatchT]):
    """Trainer of a model, epoch by epoch; subclasses define batches, steps and validation."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        validate_every: int = 1,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.validate_every = validate_every
        self.facts = dict(facts or {})
        """Plain values about the data, saved in each checkpoint."""
        self.callbacks: Sequence[Callback] = ()
        self.epoch = 0
        """Number of finished epochs."""
        self.saved_epoch: int | None = None
        """Number of finished epochs in the last saved state; set by the callback that saves it."""
        self.gpu_ids: Sequence[int] = ()
        """GPUs of the fit; set by the code that makes the run."""
        self.random_state: Callable[[], dict[str, Any]] = lambda: random_state(self.gpu_ids)
        """Function that returns the generators' states; fits that share a process use their own
        `Stream`."""
        self.stop_reason: str | None = None
        """Reason of an end before the last epoch; set by a callback."""
        self.restored_epoch: int | None = None
        """Number of epochs of the weights that a callback has restored."""

    @property
    def weights_epoch(self) -> int:
        """Number of epochs that the present weights were trained for."""
        return self.epoch if self.restored_epoch is None else self.restored_epoch

    @property
    def next_epoch(self) -> int:
        """Number of finished epochs once the present one is over."""
        return self.epoch + 1

    @abstractmethod
    def batches(self) -> Iterable[BatchT]:
        """Yield the batches of one epoch."""

    @abstractmethod
    def train_step(self, batch: BatchT) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Make one update; return scalars by name, and the batch's weights in means if not 1."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Return metrics on the test inputs."""

    def begin(self) -> None:
        """Notify the callbacks that the fit starts or is resumed."""
        for callback in self.callbacks:
            callback.on_fit_start(self)

    def goes_on(self, epochs: int) -> bool:
        """Return whether a fit of ``epochs`` epochs has another epoch to train."""
        return self.epoch < epochs and self.stop_reason is None

    def train_epoch(self) -> dict[str, float]:
        """Take the steps of one epoch; return the means of their scalars."""
        with self.naming_the_epoch():
            means = EpochMeans()
            for step, batch in enumerate(self.batches()):
                report, weights = self.train_step(batch)
                means.add(report, weights)
                for callback in self.callbacks:
                    callback.on_step_end(self, step, report)
            return means.result()

    def validate_if_due(self, epochs: int) -> dict[str, float]:
        """Return the metrics on the test inputs where the present epoch ends with a validation."""
        if not self.validates(epochs):
            return {}
        with self.naming_the_epoch():
            return check_finite(self.validate(), "validation")

    def validates(self, epochs: int) -> bool:
        """Return whether the present epoch of a fit of ``epochs`` epochs ends with a validation."""
        return self.next_epoch % self.validate_every == 0 or self.next_epoch == epochs

    @contextmanager
    def naming_the_epoch(self) -> Iterator[None]:
        """Add the epoch, and advice, to a `NonFiniteError` inside the block."""
        try:
            yield
        except NonFiniteError as error:
            raise NonFiniteError(f"epoch {self.epoch}, {error}; {self._advice()}") from None

    def _advice(self) -> str:
        """Return advice against numbers that are not finite."""
        if self.saved_epoch is None:
            return "lower 'lr'"
        return (
            f"lower 'lr'; checkpoints/last.pt keeps the finite weights after {self.saved_epoch} "
            "epochs"
        )

    def end_epoch(self, metrics: Mapping[str, float], seconds: float) -> None:
        """Count the epoch and notify the callbacks of its ``metrics``."""
        whole = {"epoch": self.epoch, **metrics, "seconds": seconds}
        self.epoch = self.next_epoch
        for callback in self.callbacks:
            callback.on_epoch_end(self, whole)

    def end(self) -> None:
        """Notify the callbacks that the last epoch is over."""
        for callback in self.callbacks:
            callback.on_fit_end(self)

    def close(self) -> None:
        """Close the callbacks' files, however the fit ended."""
        for callback in self.callbacks:
            callback.close()

    def state(self) -> dict[str, Any]:
        """Return the state from which a resume gives equal results, as plain values and tensors.

        Raises:
            NonFiniteError: a weight is NaN or infinite, so that the state is not worth keeping.
        """
        weights = self.model.state_dict()
        name = first_not_finite(weights)
        if name is not None:
            raise NonFiniteError(
                f"'{name}' is not finite after epoch {self.epoch - 1}; {self._advice()}"
            )
        return {
            "model": weights,
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "stop_reason": self.stop_reason,
            "callbacks": {_saved_as(callback): callback.state() for callback in self.callbacks},
            "random": self.random_state(),
            "facts": self.facts,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]
        self.stop_reason = state["stop_reason"]
        for callback in self.callbacks:
            callback.load_state(state["callbacks"].get(_saved_as(callback), {}))
        restore_random_state(state["random"], self.gpu_ids)


class Callback:
    """Base of callbacks, whose hooks into a fit do nothing unless overridden."""

    saved_as: ClassVar[str | None] = None
    """The name of its state in checkpoints; None for the name of its class."""

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Run before the first epoch, or before the first one after a resume."""

    def on_step_end(self, trainer: Trainer[Any], step: int, report: Mapping[str, Tensor]) -> None:
        """Run after an update.

        ``step`` counts from 0 in each epoch, ``report`` is on the device.
        """

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Run after an epoch and its validation; ``metrics["epoch"]`` counts from 0."""

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """Run after the last epoch, unless the fit is interrupted or fails."""

    def close(self) -> None:
        """Close files and connections, however the fit ends."""

    def state(self) -> dict[str, Any]:
        """Return the state of this callback that a resumed fit needs."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`; empty if the checkpoint has none of this callback."""


def _saved_as(callback: Callback) -> str:
    return callback.saved_as or type(callback).__name__
