"""One prompt again and again: the inputs of the synthetic number and date tasks."""

from __future__ import annotations

from common.config.base import Config
from common.config.fit import PositiveInt
from grue.tasks.task import TASKS, Sample, Split, Task


class DummyPoolArgs(Config):
    """The keys of the task with one prompt."""

    prompt: str
    """The text of every sample."""
    n_samples: PositiveInt = 100
    """Samples of each split."""


@TASKS.register("dummy_pool")
class DummyPool(Task[DummyPoolArgs]):
    """Copies of one prompt, without references; all splits are alike."""

    Args = DummyPoolArgs

    def samples(self, split: Split) -> list[Sample]:
        """The copies, numbered."""
        return [Sample(str(i), self.args.prompt, ()) for i in range(self.args.n_samples)]
