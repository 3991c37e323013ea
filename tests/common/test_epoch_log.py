"""Log lines inside an epoch wait for no device."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from common.training import epoch_log
from common.training.epoch_log import EpochLog


class OnDevice(Tensor):
    """A scalar that it would take a wait to read."""

    def item(self) -> Any:
        raise AssertionError("waits for the device")


def epoch(log: EpochLog, num_batches: int) -> list[int]:
    """Makes an epoch of steps; gives the number of lines after each, and after its end."""
    trainer: Any = SimpleNamespace(epoch=3)
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log.log.addHandler(handler)
    counts = []
    for step in range(num_batches):
        log.on_step_end(trainer, step, {"loss": torch.tensor(step / 2).as_subclass(OnDevice)})
        counts.append(len(lines))
    trainer.epoch += 1
    log.on_epoch_end(trainer, {"epoch": 3, "loss": 1.0})
    log.log.removeHandler(handler)
    expected = [f"epoch 3, batch {step}: loss {step / 2:.6g}" for step in (1, 3)]
    assert lines == [*expected, "epoch 3, loss 1"]
    return [*counts, len(lines)]


@pytest.mark.parametrize(
    ("arrivals", "counts"),
    [
        ([True] * 9, [0, 1, 1, 2, 2, 3]),
        ([False, True, False, True], [0, 0, 1, 1, 2, 3]),
        ([False] * 9, [0, 0, 0, 0, 0, 3]),
    ],
)
def test_lines_come_with_their_numbers(
    monkeypatch: pytest.MonkeyPatch, arrivals: list[bool], counts: list[int]
) -> None:
    asked = iter(arrivals)
    arrived = property(lambda readout: next(asked))
    monkeypatch.setattr(epoch_log.Readout, "has_arrived", arrived)
    log = logging.getLogger("tests.epoch_log")
    log.setLevel(logging.INFO)
    assert epoch(EpochLog(log, 1, 2), 5) == counts
