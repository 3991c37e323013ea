"""Template of a run that is made step by step, the same for every experiment.

    seed, data, model, restore, steps with evaluations and checkpoints, summary

The order stands here, and what must not differ between experiments: everything is seeded before any
data are read; rows of metrics are on the disk before the checkpoint that counts them; what an
earlier attempt has left is restored before anything is measured.
"""

from __future__ import annotations

import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Generic, Self, TypeVar

from torch import nn

from common import distributed
from common.config.run import RunConfig
from common.errors import Interrupted
from common.experiment import Context
from common.machine.devices import run_device, run_gpus
from common.training import checkpoint
from common.training.checkpoint_interval import Pace
from common.training.external_trackers import Row
from common.training.seeding import seed_everything
from common.training.tracker import Position, Tracker
from common.training.training_state import taking

log = logging.getLogger(__name__)

ConfigT = TypeVar("ConfigT", bound=RunConfig)
StateT = TypeVar("StateT")


class StepwiseRun(ABC, Generic[ConfigT, StateT]):
    """Run in steps, which may end after each of them and is resumed with equal results.

    A subclass says what is its own: data, model, what a step does, what is measured when, what
    state it resumes from (a ``StateT``), what it leaves.
    """

    unit: ClassVar[str] = "step"
    """Name of a step in messages."""
    position: ClassVar[Position] = "step"
    """Entry of a row of metrics that says after which step it was measured."""

    def __init__(self, config: ConfigT, context: Context) -> None:
        """Read nothing and draw nothing yet; see `set_up`."""
        self.config = config
        self.context = context
        self.folder = context.folder
        self.gpu_ids = run_gpus(context.gpu_ids)
        self.device = run_device(context.gpu_ids)
        self.tracker = Tracker(config, context.folder, self.position)
        self.steps_done = 0
        """Number of steps that the present state has seen."""
        self.saved_step: int | None = None
        """Number of steps after which the last checkpoint was written; None if there is none."""
        self._pace = Pace()
        self._measured: dict[str, float] = {}
        self._doing = ""
        """Name of what is being done within the present step; progress tells it."""

    def run(self) -> float | None:
        """Make the run, or what is left of it; return its score."""
        self.set_up()
        return self.proceed()

    def proceed(self) -> float | None:
        """Make what is left of a run that is set up; return its score."""
        try:
            self.restore()
            self.measure_start()
            self.take_steps()
            return self.conclude()
        finally:
            self.close()

    def set_up(self) -> Self:
        """Seed the generators, then read the data and make the model, as before the first step."""
        seed_everything(self.context.seed)
        self.load_data()
        self.build_model()
        return self

    @abstractmethod
    def load_data(self) -> None:
        """Read the data."""

    @abstractmethod
    def build_model(self) -> None:
        """Make the model with its initial weights, and what trains or evaluates it."""

    # What an earlier attempt has left.

    def restore(self) -> None:
        """Resume from the last good checkpoint, unless a record is lost that it counts on."""
        state = self.load_last_state()
        lost = None if state is None else self.lost_record(state)
        if lost is not None:
            self._begin_anew(lost)
        elif state is not None:
            with taking(self.folder.checkpoints / checkpoint.LAST):
                self.load_state(state)
            self.saved_step = self.steps_done
            log.info("resumed after %s %d", self.unit, self.steps_done)
        self.tracker.begin(self.keeps_row)
        watched = self.watched_model()
        if watched is not None:
            self.tracker.watch(watched)

    def load_last_state(self) -> StateT | None:
        """Return the last good state that an earlier attempt has saved; None where there is none.

        Called by all ranks alike.
        """
        return None

    def lost_record(self, state: StateT) -> str | None:
        """Return which file lacks what was measured before ``state``, for people.

        It cannot be measured of what has been trained further: the run begins anew. None where
        nothing is lost. Called by all ranks alike.
        """
        return None

    def load_state(self, state: StateT) -> None:
        """Put the run where ``state`` was saved; sets `steps_done`."""

    def keeps_row(self, row: Row) -> bool:
        """Return whether a row of an earlier attempt is of a step that is not made again."""
        return bool(row[self.position] <= self.steps_done)

    def watched_model(self) -> nn.Module | None:
        """Return the model that trackers may follow; None where there is none."""
        return None

    def _begin_anew(self, lost: str) -> None:
        if distributed.is_main():
            log.warning("%s; the run starts again from the beginning", lost)
            shutil.rmtree(self.folder.checkpoints)
        distributed.broadcast(None)  # the others read no checkpoint before

    # Steps, evaluations and checkpoints.

    def measure_start(self) -> None:
        """Record what is measured before the first step, unless an earlier attempt has."""
        if not self.tracker.has_row_of(0):
            assert self.steps_done == 0, "a lost row of the start is found on restore"
            self.record(self.evaluate_start())

    def take_steps(self) -> None:
        """Take the steps that are left, each with its evaluations, its row and its checkpoint."""
        self.tell_progress()
        while self.has_steps_left():
            values = self.step()
            values |= self.evaluate_on_the_way()
            self.record(values)
            self.tell_progress()
            self.save_if_due()
        self.end_steps()

    @property
    @abstractmethod
    def num_steps(self) -> int:
        """Steps of the whole run."""

    def has_steps_left(self) -> bool:
        """Return whether another step is to be taken."""
        return self.steps_done < self.num_steps

    def step(self) -> dict[str, float]:
        """Take one step and count it; return what was measured of it.

        Every run has it but those whose steps another loop takes, see `take_steps`.
        """
        raise NotImplementedError

    def evaluate_start(self) -> dict[str, float]:
        """Return what is measured before the first step."""
        return {}

    def evaluate_on_the_way(self) -> dict[str, float]:
        """Return what is measured after the present step beside what the step itself measures."""
        return {}

    def evaluate_end(self) -> dict[str, float]:
        """Return what is measured after the last step."""
        return {}

    @property
    def epoch(self) -> float:
        """Passes over the training data so far, as rows tell them."""
        return self.steps_done

    def record(self, values: Mapping[str, float]) -> None:
        """Append a row of metrics."""
        self._measured |= self.shown(values)
        self.tracker.add({"epoch": self.epoch, "step": self.steps_done, **values})

    def shown(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return what progress tells of a row of metrics: the score, if it is there."""
        return {}

    def tell_progress(self) -> None:
        """Tell how many steps are done, the last score, and what is being done."""
        told = [f"{name} {value:.4g}" for name, value in self._measured.items()] + [self._doing]
        self.context.progress(self.steps_done, self.num_steps, ", ".join(filter(None, told)))

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Tell what is being done in the block, such as ``evaluating``."""
        before, self._doing = self._doing, what
        self.tell_progress()
        try:
            yield
        finally:
            self._doing = before

    @property
    def may_save_soon(self) -> bool:
        """True if a checkpoint may follow the last one within a minute."""
        return False

    def is_save_due(self) -> bool:
        """Return whether it is time for a checkpoint."""
        return self._pace.is_due(soon=self.may_save_soon)

    def is_stop_requested(self) -> bool:
        """Return whether one of the ranks was asked to stop."""
        return distributed.any_rank(self.context.stop_requested())

    def save_if_due(self) -> None:
        """Write a checkpoint between two steps where one is due, or where the run stops.

        Raises:
            Interrupted: a stop was asked for; a checkpoint is written.
        """
        stops = self.is_stop_requested()
        if stops or (self.has_steps_left() and self.is_save_due()):
            self.save()
        if stops:
            self.interrupt()

    def end_steps(self) -> None:
        """Write the checkpoint after the last step, unless it was restored."""
        if self.saved_step != self.steps_done:
            self.save()

    def save(self) -> None:
        """Write a checkpoint."""
        if distributed.is_main():
            with self.writing_checkpoint():
                self.save_state()

    @contextmanager
    def writing_checkpoint(self) -> Iterator[None]:
        """Bring the rows that a checkpoint counts on to the disk; it is written in the block."""
        with self._pace.writing():
            self.tracker.sync()
            yield
        self.saved_step = self.steps_done

    def save_state(self) -> None:
        """Put what the run resumes from into its folder of checkpoints."""

    def interrupt(self) -> None:
        """End this attempt, for a later one to resume.

        Raises:
            Interrupted: always.
        """
        raise Interrupted(
            f"stopped on request after {self.unit} {self.steps_done} of {self.num_steps}"
        )

    # The end.

    def conclude(self) -> float | None:
        """Record what is measured after the last step, and leave what the run is made for."""
        found = self.evaluate_end()
        self.record(found)
        score = self.summarise(found)
        self.tracker.upload_files()
        return score

    @abstractmethod
    def summarise(self, found: Mapping[str, float]) -> float | None:
        """Write the summary and what else the run leaves; return its score.

        ``found`` is what was measured last.
        """

    def close(self) -> None:
        """Close files and connections, however the run ends."""
        self.tracker.close()
