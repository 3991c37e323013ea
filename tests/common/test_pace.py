"""Checkpoints come by time, and take little of it."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from common.training.checkpoint_interval import LEAST_MULTIPLE, SECONDS_BETWEEN_CHECKPOINTS, Pace


@pytest.mark.parametrize("soon", [False, True])
@pytest.mark.parametrize("seconds", [0.001, 1.0, 5.0, 100.0])
def test_the_share_of_writing_is_bounded_and_the_wait_is_no_longer_than_needed(
    seconds: float, soon: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(
        "common.training.checkpoint_interval.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    pace, step = Pace(), 0.5
    begun = []
    while len(begun) < 4:
        now[0] += step
        if pace.is_due(soon=soon):
            begun.append(now[0])
            with pace.writing():
                now[0] += seconds
    least = max(LEAST_MULTIPLE * seconds, 0.0 if soon else SECONDS_BETWEEN_CHECKPOINTS)
    for one, other in itertools.pairwise(begun):
        assert least <= other - one - seconds <= least + step
        assert seconds / (other - one) < 0.05


def test_the_first_one_waits_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(
        "common.training.checkpoint_interval.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    pace = Pace()
    now[0] = 59.9
    assert (pace.is_due(), pace.is_due(soon=True)) == (False, True)
    now[0] = 60.0
    assert pace.is_due()
