"""Synthetic lists of random numbers, to pretrain on and to continue with increasing ones."""

from __future__ import annotations

import random
from typing import Annotated

from pydantic import Field

from common.config.base import Config
from common.config.fit import PositiveInt
from grue.tasks.task import TASKS, Sample, Split, Task


class NumberListsArgs(Config):
    """Keys of the lists."""

    num_samples: PositiveInt = 1000
    """Number of lists of the training split; the others have a quarter of them."""
    length: Annotated[int, Field(ge=2)] = 10
    """Number of numbers in a list; the first is the prompt."""
    largest: PositiveInt = 29
    """Largest number; numbers are drawn uniformly from 0 to it."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the lists."""


@TASKS.register("number_lists")
class NumberLists(Task[NumberListsArgs]):
    """One list per sample: its first number as prompt, and the others as reference."""

    Args = NumberListsArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the lists of a split; each split has a random stream of its own."""
        args = self.args
        count = args.num_samples if split == "train" else max(args.num_samples // 4, 1)
        draw = random.Random(f"{args.seed} {split}")
        found = []
        for i in range(count):
            first, *others = (str(draw.randint(0, args.largest)) for _ in range(args.length))
            found.append(Sample(f"{split}_{i}", first, (" " + " ".join(others),)))
        return found
