"""Cost of a run's evaluations: their inputs, and estimates of their duration."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from grue.tasks.task import Split

log = logging.getLogger(__name__)

LONG = 600.0
"""Seconds of coming evaluations from which the estimate is shown on the console, not in ``log.txt``
alone."""
_LIMITS = {"train": "num_evaluated_train_samples", "val": "num_val_samples",
           "test": "num_test_samples"}  # fmt: skip


class EvaluationTimes:
    """Duration of the last evaluation of each split."""

    def __init__(self, num_inputs: Mapping[Split, int]) -> None:
        """Set ``num_inputs``, the inputs of an evaluation on each evaluated split."""
        self._num_inputs = num_inputs
        self._seconds: dict[Split, float] = {}
        shown = ", ".join(f"{count} of '{split}'" for split, count in num_inputs.items())
        log.info("inputs of each evaluation: %s", shown)

    @contextmanager
    def measured(self, split: Split) -> Iterator[None]:
        """Measure an evaluation of the split in the block."""
        started = time.monotonic()
        yield
        self._seconds[split] = time.monotonic() - started

    def tell_of_rest(self, num_left: Mapping[Split, int]) -> None:
        """Log an estimate of the duration of the coming evaluations.

        There is no estimate for a resumed run that has evaluated none itself.
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
