"""Synthetic diary with dates in some sentences: text to pretrain on."""

from __future__ import annotations

import random
from typing import Annotated

from pydantic import Field

from common.config.base import Config
from common.config.fit import PositiveInt
from grue.tasks.task import TASKS, Sample, Split, Task

_WHO = ("I", "we", "my sister", "the neighbours", "two friends")
_DID = ("went swimming", "planted trees", "baked bread", "mended the roof", "walked home")
_WHEN = ("on a monday", "in the morning", "after the rain", "at noon", "late at night")
_YEARS = (1990, 2029)
_LAST_DAY = 28


class DiaryArgs(Config):
    """Keys of the diary."""

    num_samples: PositiveInt = 1000
    """Number of entries of the training split; the others have a quarter of them."""
    share_with_date: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the entries with a date, such as 2011-05-23."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the entries."""


@TASKS.register("diary")
class Diary(Task[DiaryArgs]):
    """One entry per sample, as the reference of a constant prompt."""

    Args = DiaryArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the entries of a split; each split has a random stream of its own."""
        count = self.args.num_samples if split == "train" else max(self.args.num_samples // 4, 1)
        draw = random.Random(f"{self.args.seed} {split}")
        return [
            Sample(f"{split}_{i}", "Diary:", (self._entry(draw),), {"kind": "entry"})
            for i in range(count)
        ]

    def _entry(self, draw: random.Random) -> str:
        when = draw.choice(_WHEN)
        if draw.random() < self.args.share_with_date:
            month, day = draw.randint(1, 12), draw.randint(1, _LAST_DAY)
            when = f"on {draw.randint(*_YEARS)}-{month:02d}-{day:02d}"
        return f" {draw.choice(_WHO)} {draw.choice(_DID)} {when} ."
