"""The keys of a task, and which of its inputs are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from common.config.base import (
    LATER,
    Published,
    Seed,
)
from common.config.fit import PositiveInt
from common.errors import Problem
from grue import tasks
from grue.parts.config import PartConfig
from grue.tasks.task import Split, Task


class TaskConfig(PartConfig[Task[Any]]):
    """Where inputs come from."""

    @classmethod
    def find(cls, name: str) -> type[Task[Any]]:
        """The class of the task called ``name``."""
        return tasks.find(name)


Fraction = Annotated[Annotated[float, Field(gt=0, le=1)] | None, Published(-1)]
OptionalCount = Annotated[PositiveInt | None, Published(-1)]
LaterCount = Annotated[PositiveInt | None, Published(-1), LATER]


class DatapoolConfig(TaskConfig):
    """The task, and which of its inputs are used."""

    frac_train_samples: Fraction = None
    """Share of the training inputs, drawn at random; None (or -1) for all."""
    num_train_samples: OptionalCount = None
    """Number of training inputs, drawn at random; None (or -1) for all."""
    num_evaluated_train_samples: LaterCount = None
    """Number of these on which a finetuning run is evaluated, drawn at random; None (or -1) for all
    of them. ``no_eval_on_train_set`` leaves the training split out."""
    num_val_samples: LaterCount = None
    """Number of validation inputs, drawn at random; None (or -1) for all."""
    num_test_samples: LaterCount = None
    """Number of test inputs, drawn at random; None (or -1) for all."""
    train_samples_rnd_seed: Seed = None
    """Seed of all these draws; None (or -1) follows ``random_seed``."""

    def num_samples(self, split: Split) -> int | None:
        """The number of a split's inputs that is asked for; None for all."""
        count: int | None = getattr(self, f"num_{split}_samples")
        return count

    def problems(self) -> Iterator[Problem]:
        """Two sizes of one subset."""
        yield from super().problems()
        if self.frac_train_samples is not None and self.num_train_samples is not None:
            yield Problem("stands beside 'frac_train_samples'; give one of them",
                          "num_train_samples", self.num_train_samples)  # fmt: skip
