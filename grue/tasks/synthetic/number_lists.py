"""Made-up lists of random numbers, to pretrain on and to continue with growing ones."""

from __future__ import annotations

import random
from typing import Annotated

from pydantic import Field

from common.config.base import Config
from common.config.fit import PositiveInt
from grue.tasks.task import TASKS, Sample, Split, Task


class NumberListsArgs(Config):
    """The keys of the lists."""

    num_samples: PositiveInt = 1000
    """Lists of the training split; the others have a quarter of them."""
    length: Annotated[int, Field(ge=2)] = 10
    """Numbers of a list, the first of which is the prompt."""
    largest: PositiveInt = 29
    """Numbers are drawn from 0 to this one, all alike."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Fixes the lists."""


@TASKS.register("number_lists")
class NumberLists(Task[NumberListsArgs]):
    """One list per sample: its first number, to be continued, and the others as the reference."""

    Args = NumberListsArgs

    def samples(self, split: Split) -> list[Sample]:
        """The lists of a split; no two splits draw from one stream."""
        args = self.args
        count = args.num_samples if split == "train" else max(args.num_samples // 4, 1)
        draw = random.Random(f"{args.seed} {split}")
        found = []
        for i in range(count):
            first, *others = (str(draw.randint(0, args.largest)) for _ in range(args.length))
            found.append(Sample(f"{split}_{i}", first, (" " + " ".join(others),)))
        return found
