"""Copies of one prompt: the inputs of the synthetic number and date tasks."""

from __future__ import annotations

from common.config.base import Config
from common.config.fit import PositiveInt
from grue.tasks.task import TASKS, Sample, Split, Task


class DummyPoolArgs(Config):
    """Keys of the task with one prompt."""

    prompt: str
    """Prompt of every sample."""
    n_samples: PositiveInt = 100
    """Number of samples of each split."""


@TASKS.register("dummy_pool")
class DummyPool(Task[DummyPoolArgs]):
    """Copies of one prompt, without references; all splits are alike."""

    Args = DummyPoolArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the numbered copies."""
        return [Sample(str(i), self.args.prompt, ()) for i in range(self.args.n_samples)]
