"""A trainer's epochs without a run's checkpoints, evaluations and summary around them."""

from __future__ import annotations

import time
from typing import Any

from common import Trainer


def fit(trainer: Trainer[Any], epochs: int) -> None:
    """Trains until so many epochs are finished."""
    try:
        trainer.begin()
        while trainer.goes_on(epochs):
            started = time.perf_counter()
            metrics = trainer.train_epoch() | trainer.validate_if_due(epochs)
            trainer.end_epoch(metrics, time.perf_counter() - started)
        trainer.end()
    finally:
        trainer.close()
