"""Keys of a task, and of the subsets of its splits."""

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
    """A task: its id and its own keys."""

    @classmethod
    def find(cls, name: str) -> type[Task[Any]]:
        """Return the class of the task called ``name``."""
        return tasks.find(name)


Fraction = Annotated[Annotated[float, Field(gt=0, le=1)] | None, Published(-1)]
OptionalCount = Annotated[PositiveInt | None, Published(-1)]
LaterCount = Annotated[PositiveInt | None, Published(-1), LATER]


class DatapoolConfig(TaskConfig):
    """A task, and the subsets of its splits."""

    frac_train_samples: Fraction = None
    """Share of the training inputs to draw at random; None (or -1) for all."""
    num_train_samples: OptionalCount = None
    """Number of training inputs to draw at random; None (or -1) for all."""
    num_evaluated_train_samples: LaterCount = None
    """Number of these to evaluate a finetuning run on, drawn at random; None (or -1) for all of
    them. ``no_eval_on_train_set`` skips the training split."""
    num_val_samples: LaterCount = None
    """Number of validation inputs to draw at random; None (or -1) for all."""
    num_test_samples: LaterCount = None
    """Number of test inputs to draw at random; None (or -1) for all."""
    train_samples_rnd_seed: Seed = None
    """Seed of all these draws; None (or -1) uses ``random_seed``."""

    def num_samples(self, split: Split) -> int | None:
        """Return the configured number of a split's inputs; None for all."""
        count: int | None = getattr(self, f"num_{split}_samples")
        return count

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of two sizes of one subset."""
        yield from super().problems()
        if self.frac_train_samples is not None and self.num_train_samples is not None:
            yield Problem("contradicts 'frac_train_samples'; give one of them",
                          "num_train_samples", self.num_train_samples)  # fmt: skip
