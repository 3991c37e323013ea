"""The loop of a fit: epochs of steps, validation, callbacks, and a state to go on from."""

from __future__ import annotations

import time
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
    """Fits a model epoch by epoch; subclasses say what a batch, a step and a validation are."""

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
        """Plain values about the data, kept in each checkpoint."""
        self.callbacks: Sequence[Callback] = ()
        self.epoch = 0
        """Number of finished epochs."""
        self.saved_epoch: int | None = None
        """Number of epochs after which the last state was saved; set by what saves it."""
        self.gpu_ids: Sequence[int] = ()
        """GPUs that the fit computes with; set by what makes the run."""
        self.random_state: Callable[[], dict[str, Any]] = lambda: random_state(self.gpu_ids)
        """Gives the generators' states; fits that share a process have their own `Stream`."""
        self.stop_reason: str | None = None
        """Why the fit ends before its last epoch; set by a callback."""
        self.restored_epoch: int | None = None
        """Number of epochs after which the weights were taken that a callback has put back."""

    @property
    def weights_epoch(self) -> int:
        """Number of epochs that the present weights have seen."""
        return self.epoch if self.restored_epoch is None else self.restored_epoch

    @abstractmethod
    def batches(self) -> Iterable[BatchT]:
        """The batches of one epoch."""

    @abstractmethod
    def train_step(self, batch: BatchT) -> tuple[dict[str, Tensor], dict[str, float]]:
        """One update; gives scalars by name, and the batch's weight in means where not 1."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Metrics on the test inputs."""

    def fit(self, epochs: int) -> None:
        """Train until ``epochs`` epochs are finished or a callback stops it.

        A run takes the same steps one by one, see `FitExperiment`.

        Raises:
            NonFiniteError: a loss or another scalar became NaN or infinite.
        """
        try:
            self.begin()
            while self.goes_on(epochs):
                started = time.perf_counter()
                metrics = self.train_epoch() | self.validate_if_due(epochs)
                self.end_epoch(metrics, time.perf_counter() - started)
            self.end()
        finally:
            self.close()

    def begin(self) -> None:
        """Tells the callbacks that the fit starts, or goes on."""
        for callback in self.callbacks:
            callback.on_fit_start(self)

    def goes_on(self, epochs: int) -> bool:
        """Whether a fit of ``epochs`` epochs has another one before it."""
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
        """Whether the present epoch of a fit of ``epochs`` epochs ends with a validation."""
        return (self.epoch + 1) % self.validate_every == 0 or self.epoch + 1 == epochs

    @contextmanager
    def naming_the_epoch(self) -> Iterator[None]:
        """Inside the block a `NonFiniteError` is told the epoch, and what can be done about it."""
        try:
            yield
        except NonFiniteError as error:
            raise NonFiniteError(f"epoch {self.epoch}, {error}; {self._advice()}") from None

    def _advice(self) -> str:
        """What can be done where numbers are not finite."""
        if self.saved_epoch is None:
            return "lower 'lr'"
        return (
            f"lower 'lr'; checkpoints/last.pt keeps the finite weights after {self.saved_epoch} "
            "epochs"
        )

    def end_epoch(self, metrics: Mapping[str, float], seconds: float) -> None:
        """Counts the epoch and tells the callbacks of its ``metrics``."""
        whole = {"epoch": self.epoch, **metrics, "seconds": seconds}
        self.epoch += 1
        for callback in self.callbacks:
            callback.on_epoch_end(self, whole)

    def end(self) -> None:
        """Tells the callbacks that the last epoch is over."""
        for callback in self.callbacks:
            callback.on_fit_end(self)

    def close(self) -> None:
        """Lets go of the callbacks' files, however the fit ended."""
        for callback in self.callbacks:
            callback.close()

    def state(self) -> dict[str, Any]:
        """Everything that going on with equal results needs, as plain values and tensors.

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
        """Puts the fit where `state` found it."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]
        self.stop_reason = state["stop_reason"]
        for callback in self.callbacks:
            callback.load_state(state["callbacks"].get(_saved_as(callback), {}))
        restore_random_state(state["random"], self.gpu_ids)


class Callback:
    """Hooks into a fit; each does nothing unless overridden."""

    saved_as: ClassVar[str | None] = None
    """The name of its state in checkpoints; None for the name of its class."""

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Before the first epoch, or before the first after a resume."""

    def on_step_end(self, trainer: Trainer[Any], step: int, report: Mapping[str, Tensor]) -> None:
        """After an update; ``step`` counts from 0 in each epoch, ``report`` is on the device."""

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """After an epoch and its validation; ``metrics["epoch"]`` counts from 0."""

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """After the last epoch; not called when the fit is interrupted or fails."""

    def sync(self) -> None:
        """Puts what it has written onto the disk: a checkpoint is about to count on it."""

    def close(self) -> None:
        """Lets go of files and connections, however the fit ends."""

    def state(self) -> dict[str, Any]:
        """What a resumed fit needs of this callback."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave; empty where the checkpoint knows nothing of it."""


def _saved_as(callback: Callback) -> str:
    return callback.saved_as or type(callback).__name__
