"""Splits of a single local file: the training part and the held-out parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from common.config.base import INPUT_FILE, Config
from grue.tasks.sources.local_files import path_error
from grue.tasks.task import Split

T = TypeVar("T")


class LocalArgs(Config):
    """Keys of tasks that have local data only."""

    path: Annotated[str, INPUT_FILE]
    """Path of a file, or of a folder with one file per split."""
    held_out: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of a single file's samples in the validation split, and in the test split: the last
    ones. With 0 a single file is the training split alone."""

    def part(self, whole: Sequence[T], split: Split) -> Sequence[T]:
        """Return the split's part of the samples of a single file.

        Raises:
            UserError: the split has no samples.
        """
        size = round(self.held_out * len(whole))
        end = len(whole) - 2 * size
        starts = {"train": (0, end), "val": (end, end + size), "test": (end + size, len(whole))}
        part = whole[slice(*starts[split])]
        if not part:
            raise path_error(
                self.path,
                f"the file's {len(whole)} samples leave none for the split '{split}'; set "
                f"'datapool.args.held_out' {_advice(size, len(whole))} (now {self.held_out:g}), or "
                "give a folder with one file per split",
            )
        return part

    def is_single_file(self) -> bool:
        """Return whether one file has all splits."""
        return Path(self.path).is_file()


def _advice(size: int, num_samples: int) -> str:
    """Return the advice for a share of ``size`` samples that leaves a split empty."""
    if num_samples < 3:
        return "to a share of a file of 3 samples or more"
    share = max(0.1, math.ceil(100 / num_samples) / 100)
    return f"{'lower' if size else 'above 0'}, for example {share:g}"
