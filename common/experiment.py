"""What a plan and a scheduler know of an experiment, and what a run is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """The model of the run's keys."""
    run: str
    """``"package.module:function"``, called as ``function(config, context)`` in the run's process;
    returns the run's score, or None."""
    preflight: str
    """``"package.module:function"``, called once before the first run with all runs (see
    `common.plan.run.Run`) that have something to look at; gives a list of `Problem`s."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What a later stage may refer to as ``"@<id>.<name>"``: paths inside the run folder."""
    unit: str = "epoch"
    """What a run's progress counts."""
    recognises: Callable[[Mapping[str, Any]], bool] = lambda keys: False
    """Whether the keys in a file, with no plan around them, mean a run of this kind."""
    mend: Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], list[str]]] = _as_written
    """Gives a run's keys without known slips of published files, and what was mended."""
    run_together: str | None = None
    """``"package.module:function"``, called as ``function(members)`` with a list of `Member` whose
    configurations have equal ``vectorize_key()``; needed where ``why_alone()`` may give None."""
    memory: str | None = None
    """``"package.module:function"``, called before the first run with the runs that will use GPUs;
    gives for each what it needs of their memory (see `common.machine.memory.Need`), None where that
    is not known. None where it is never."""


EXPERIMENTS: Registry[Experiment] = Registry("experiment")


@dataclass(frozen=True)
class Context:
    """What a run is given beside its configuration."""

    folder: RunFolder
    """Where the run leaves everything."""
    seed: int
    """The root seed: the configuration's, or the one drawn for this run."""
    gpu_ids: tuple[int, ...] = ()
    """Devices as torch counts them in this process; empty for the CPU."""
    stop_requested: Callable[[], bool] = lambda: False
    """True once the run should write its checkpoint and raise `Interrupted`."""
    progress: Callable[[int, int], None] = lambda done, total: None
    """Told how many of how many units are done."""
    once_done: Callable[[Callable[[], None]], None] = lambda action: None
    """Given what is to be done once the run's end is recorded, such as removing unfinished work."""


class Member(Protocol):
    """One of several runs that are made together, each of which ends for itself."""

    @property
    def config(self) -> Any:
        """The run's configuration."""

    @property
    def context(self) -> Context:
        """What the run is given beside it."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, well or not."""

    def on_its_own(self) -> AbstractContextManager[None]:
        """A block that concerns this run alone.

        What is logged inside goes to the run's ``log.txt``. An error ends this run, with what its
        folder says of it, and is not raised further.
        """

    def done(self, score: float | None) -> None:
        """Ends the run well."""


@dataclass(frozen=True)
class Reference:
    """A file of an earlier stage's run that this run reads."""

    key: tuple[str | int, ...]
    """Where the configuration names it."""
    file: str
    """Name of the file, one of the earlier experiment's ``files``."""
    path: str
    """The file's path inside the run folder."""
    run: Any
    """The run that makes it (a `common.plan.run.Run`)."""

    @property
    def target(self) -> Path:
        """Where the file stands once the run is done."""
        folder: Path = self.run.folder
        return folder / self.path
