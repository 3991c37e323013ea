"""What a run's evaluations cost: how many inputs they have, and how long they will take."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from grue.tasks.task import Split

log = logging.getLogger(__name__)

LONG = 600.0
"""Seconds of evaluations still to come that the console hears of, not ``log.txt`` alone."""
_LIMITS = {"train": "num_evaluated_train_samples", "val": "num_val_samples",
           "test": "num_test_samples"}  # fmt: skip


class EvaluationTimes:
    """How long the last evaluation of each split took."""

    def __init__(self, num_inputs: Mapping[Split, int]) -> None:
        """``num_inputs`` are those of an evaluation on each split that is evaluated."""
        self._num_inputs = num_inputs
        self._seconds: dict[Split, float] = {}
        shown = ", ".join(f"{count} of '{split}'" for split, count in num_inputs.items())
        log.info("inputs of each evaluation: %s", shown)

    @contextmanager
    def measured(self, split: Split) -> Iterator[None]:
        """Around an evaluation of the split."""
        started = time.monotonic()
        yield
        self._seconds[split] = time.monotonic() - started

    def tell_of_rest(self, num_left: Mapping[Split, int]) -> None:
        """Say how long as many evaluations will take.

        Nothing is known of it where a run has gone on and evaluated none itself.
        """
        splits = [split for split, count in num_left.items() if count]
        if not splits or not self._seconds.keys() >= set(splits):
            return
        seconds = sum(num_left[split] * self._seconds[split] for split in splits)
        shown = ", ".join(
            f"{num_left[split]} x {self._num_inputs[split]} inputs of '{split}'" for split in splits
        )
        keys = ", ".join(f"'{_LIMITS[split]}'" for split in splits)
        is_long = seconds >= LONG
        advice = f"; to have fewer inputs, see {keys} of 'datapool'" if is_long else ""
        log.log(
            logging.WARNING if is_long else logging.INFO,
            "evaluations still to come: %s, which take about %s (h:mm:ss)%s",
            shown, datetime.timedelta(seconds=round(seconds)), advice,
        )  # fmt: skip
