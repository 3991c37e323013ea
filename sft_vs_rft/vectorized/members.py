"""Several runs made together in one process, each with its own folder, data, seeds and end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from common.experiment import Member
from common.training.epoch_means import NonFiniteError
from common.training.fit_experiment import FitExperiment
from common.training.trainer import Trainer

TrainerT = TypeVar("TrainerT", bound=Trainer[Any])


class MemberFit(Generic[TrainerT]):
    """One run of several: its data, its trainer, and its own end."""

    data: Any
    trainer: TrainerT

    def __init__(self, member: Member, experiment: FitExperiment[Any, Any]) -> None:
        """Prepare the run of ``member``, which ``experiment`` makes."""
        self._member = member
        self._experiment = experiment
        self.data, self.trainer = experiment.prepare()  # type: ignore[assignment]

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

    def end_epoch(
        self, results: Sequence[dict[str, float] | NonFiniteError], seconds: float
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


FitT = TypeVar("FitT", bound=MemberFit[Any])


def make_together(
    members: Sequence[Member],
    prepare: Callable[[Member, Sequence[FitT]], FitT],
    train: Callable[[Sequence[FitT]], None],
) -> None:
    """Make the runs of ``members`` in their folders, and end each of them.

    Args:
        members: runs whose configurations have equal ``vectorize_key()``. They need not be at the
            same epoch: after a kill, their last checkpoints may differ.
        prepare: returns the fit of a member, given the fits so far.
        train: trains an epoch of some of the fits that go on, at least of one.
    """
    fits: list[FitT] = []
    try:
        for member in members:
            with member.on_its_own():
                fits.append(prepare(member, fits))
        for fit in fits:
            fit.begin()
        while going := _still_going(fits):
            train(going)
            min(going, key=lambda fit: fit.trainer.epoch).tell_progress()
    finally:
        for fit in fits:
            fit.close()


def _still_going(fits: Sequence[FitT]) -> list[FitT]:
    """Return the fits that have another epoch to train; the others end."""
    for fit in fits:
        if not fit.goes_on:
            fit.conclude()
    return [fit for fit in fits if fit.goes_on]
