"""A run is started beside others only if there is memory for it, by what its kind has needed."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from common.machine.peak_memory import begin_measuring, peaks
from common.runner.run_state import RunState
from common.runner.scheduling import memory_room
from common.runner.scheduling.memory_room import MemoryRoom
from tests.common.plans import toy
from tests.conftest import TOY, Workplace

GIBI = 2**30
SMALL, LARGE = 0, 1  # configurations


class Run:
    folder = Path("none")

    def __init__(self, kind: int) -> None:
        self.configuration, self.name = kind, f"kind {kind}"


def run_of(kind: int) -> Any:
    return Run(kind)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> MemoryRoom:
    """Runs of one kind have taken 1 and 2 GiB, those of another 6, and 8 are free."""
    available = types.SimpleNamespace(available=8 * GIBI)
    monkeypatch.setattr(memory_room.psutil, "virtual_memory", lambda: available)
    monkeypatch.setattr(memory_room, "_largest_idle", lambda busy: 0)
    states = {run_of(SMALL): 1, run_of(SMALL): 2, run_of(LARGE): 6, run_of(2): None}
    return MemoryRoom({
        run: RunState("done", peak_memory=peak and peak * GIBI) for run, peak in states.items()
    })  # fmt: skip


def test_runs_wait_for_what_their_kind_and_those_under_way_need(
    room: MemoryRoom, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    small, large = run_of(SMALL), run_of(LARGE)
    assert room.is_there_for(large, [])
    assert room.is_there_for(large, [small])
    assert not room.is_there_for(large, [large])
    assert not room.is_there_for(large, [small, run_of(SMALL)])
    assert room.is_there_for(small, [large])
    assert caplog.messages == [
        "kind 1 waits for memory: such runs have taken up to 6.0 GiB, and 2.0 GiB are free"
    ]
    monkeypatch.setattr(memory_room, "_held_by", lambda run: (1, 5 * GIBI))  # of the available
    assert room.is_there_for(large, [large])
    room.note(large, RunState("done", peak_memory=8 * GIBI))
    assert not room.is_there_for(large, [large])
    monkeypatch.setattr(memory_room, "_largest_idle", lambda busy: 3 * GIBI)
    assert room.is_there_for(large, [large])


def test_a_kind_that_is_not_known_and_a_run_alone_start(room: MemoryRoom) -> None:
    assert room.is_there_for(run_of(2), [run_of(LARGE), run_of(LARGE)])
    room.note(run_of(LARGE), RunState("done", peak_memory=99 * GIBI))
    assert room.is_there_for(run_of(LARGE), [])


def test_the_peak_is_measured_anew_for_each_run() -> None:
    begin_measuring()
    before = peaks()["peak_memory"]
    block = bytearray(200 * 2**20)
    assert peaks()["peak_memory"] - before > 150 * 2**20
    del block
    begin_measuring()
    assert peaks()["peak_memory"] - before < 150 * 2**20


def test_runs_that_do_not_fit_beside_each_other_are_made_one_by_one(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    available = types.SimpleNamespace(available=0)
    monkeypatch.setattr(memory_room.psutil, "virtual_memory", lambda: available)
    monkeypatch.setattr(memory_room, "_largest_idle", lambda busy: 0)
    plan = workplace.write_plan(
        experiment=TOY, configurations=[{**toy(), "seeds": [1, 2, 3, 4]}],
        multiprocess=True, num_parallel=2,
    )  # fmt: skip
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0
    assert outcome.err.count("waits for memory: such runs have taken up to") == 1
    assert all(run.read_status()["peak_memory"] > 10**7 for run in workplace.folders())
