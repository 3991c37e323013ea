"""Experiments as plans and schedulers see them, and the context of a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from common.config.run import RunConfig
from common.registry import Registry
from common.run.folder import RunFolder


def _as_written(keys: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    return keys, []


@dataclass(frozen=True)
class Experiment:
    """A kind of run that a plan may name.

    ``run`` and ``preflight`` are import paths, because the modules behind them import torch and
    a plan is read without it.
    """

    config: type[RunConfig]
    """Model of the run's keys."""
    run: str
    """Import path ``"package.module:function"`` of the function that makes a run, called as
    ``function(config, context)`` in the run's process; it returns the run's score, or None."""
    preflight: str
    """Import path of the preflight check, called once before the first run with all runs (see
    `common.plan.run.Run`) whose `needs_preflight` is true; it returns a list of `Problem`s."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files of a run for references ``"@<id>.<name>"`` of later stages: paths inside the run
    folder."""
    unit: str = "epoch"
    """Unit of a run's progress."""
    recognises: Callable[[Mapping[str, Any]], bool] = lambda keys: False
    """Function that returns whether the keys in a file without a plan are those of this kind of
    run."""
    claims: Callable[[Collection[str]], bool] = lambda keys: False
    """Function that returns whether a configuration with these keys, in a plan that names no
    experiment, can only be of this kind, as in published plans."""
    fix_legacy_keys: Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], list[str]]] = (
        _as_written
    )
    """Function that fixes known errors of published files in a run's keys; it returns the fixed
    keys, and warnings about the fixes."""
    run_together: str | None = None
    """Import path of the function that makes several runs together, called as ``function(members)``
    with a list of `Member` whose configurations have equal ``vectorize_key()``; required if
    ``why_alone()`` may return None."""
    memory: str | None = None
    """Import path of the function that estimates GPU memory, called before the first run with the
    runs that will use GPUs; it returns the need of each (see `common.machine.memory.Need`), None if
    it is unknown. None if it is never known."""


EXPERIMENTS: Registry[Experiment] = Registry("experiment")


class Progress(Protocol):
    """Function that reports the progress of a run."""

    def __call__(self, done: int, total: int, doing: str = "") -> None:
        """Report the number of finished units and of all units, and what is being done."""


@dataclass(frozen=True)
class Context:
    """Context of a run: what it is given in addition to its configuration."""

    folder: RunFolder
    """Folder of all the run's files."""
    seed: int
    """Root seed: the configuration's, or the one drawn for this run."""
    gpu_ids: tuple[int, ...] = ()
    """Devices as torch counts them in this process; empty for the CPU."""
    stop_requested: Callable[[], bool] = lambda: False
    """Function that returns true once the run should write its checkpoint and raise
    `Interrupted`."""
    progress: Progress = lambda done, total, doing="": None
    """Function that reports the number of finished units and of all units, and, if that is known,
    the present score and what is being done within a unit, as people read it."""
    once_done: Callable[[Callable[[], None]], None] = lambda action: None
    """Function that takes work for after the run's end is recorded, such as removing temporary
    files."""


class Member(Protocol):
    """One of several runs that are made together and end separately."""

    @property
    def config(self) -> Any:
        """Configuration of the run."""

    @property
    def context(self) -> Context:
        """Context of the run."""

    @property
    def is_over(self) -> bool:
        """True if the run has ended, successfully or not."""

    def on_its_own(self) -> AbstractContextManager[None]:
        """Return a block that concerns this run alone.

        Log lines inside the block are written to the run's ``log.txt``. An error ends this run, is
        recorded in its folder, and is not raised further.
        """

    def done(self, score: float | None) -> None:
        """End the run successfully, with its score."""


@dataclass(frozen=True)
class Reference:
    """A file of an earlier stage's run that this run reads."""

    key: tuple[str | int, ...]
    """Path of the key in the configuration that names it."""
    file: str
    """Name of the file, one of the earlier experiment's ``files``."""
    path: str
    """Path of the file inside the run folder."""
    run: Any
    """Run that makes it (a `common.plan.run.Run`)."""

    @property
    def target(self) -> Path:
        """Path of the file once the run is done."""
        folder: Path = self.run.folder
        return folder / self.path
