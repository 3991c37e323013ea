"""A run is started beside others only if there is memory for it, by what its kind has needed."""

from __future__ import annotations

import types
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from common.machine.peak_memory import begin_measuring, peaks
from common.run.folder import write_json
from common.runner.run_state import RunState
from common.runner.scheduling import memory_room
from common.runner.scheduling.memory_room import MemoryRoom
from tests.common.plans import toy
from tests.conftest import TOY, Workplace

GIBI = 2**30
SMALL, LARGE = 0, 1  # configurations


class Run:
    def __init__(self, kind: int, folder: Path) -> None:
        self.configuration, self.name, self.folder = kind, f"kind {kind}", folder


def run_of(kind: int, folder: Path = Path("none")) -> Any:
    return Run(kind, folder)


def under_way(kind: int, pid: int, folder: Path) -> Any:
    """A run that this process makes, by its folder."""
    write_json(folder / "status.json", {"status": "running", "pid": pid})
    return run_of(kind, folder)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> MemoryRoom:
    """Runs of one kind have taken 1 and 2 GiB, those of another 6, and 8 are free."""
    available = types.SimpleNamespace(available=8 * GIBI)
    monkeypatch.setattr(memory_room.psutil, "virtual_memory", lambda: available)
    states = {run_of(SMALL): 1, run_of(SMALL): 2, run_of(LARGE): 6, run_of(2): None}
    return MemoryRoom({
        run: RunState("done", peak_memory=peak and peak * GIBI) for run, peak in states.items()
    })  # fmt: skip


def test_runs_wait_for_what_their_kind_and_those_under_way_need(
    room: MemoryRoom,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
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
    held = {1: 5 * GIBI, 2: 3 * GIBI}  # of the available
    monkeypatch.setattr(memory_room, "_held_by", held.__getitem__)
    begun = under_way(LARGE, 1, tmp_path / "begun")
    assert not room.is_there_for(large, [begun], workers=[])  # an earlier attempt's process
    assert room.is_there_for(large, [begun], workers=[1])
    room.note(large, RunState("done", peak_memory=8 * GIBI))
    assert not room.is_there_for(large, [begun], workers=[1])
    assert room.is_there_for(large, [begun], workers=[1, 2])


def test_runs_that_share_a_process_take_their_largest_peak_together(
    room: MemoryRoom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory_room, "_held_by", lambda pid: 0)
    together = [under_way(kind, 1, tmp_path / f"{kind}") for kind in (LARGE, SMALL)]
    assert room.is_there_for(run_of(SMALL), together, workers=[1])
    apart = [*together[:1], under_way(SMALL, 2, tmp_path / "apart")]
    assert not room.is_there_for(run_of(SMALL), apart, workers=[1, 2])


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


def test_room_is_asked_for_beside_the_processes_of_all_workers(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[int]] = []

    def note(*_: Any, workers: Collection[int]) -> bool:
        asked.append(set(workers))
        return True

    monkeypatch.setattr(MemoryRoom, "is_there_for", note)
    plan = workplace.write_plan(
        experiment=TOY, configurations=[{**toy(epochs=5, pause=0.1), "seeds": [1, 2, 3]}],
        multiprocess=True, num_parallel=2,
    )  # fmt: skip
    assert workplace.run_plan(plan).status == 0
    assert asked[0] == set()
    assert asked[-1] == {run.read_status()["pid"] for run in workplace.folders()}
    assert len(asked[-1]) == 2


def test_runs_that_do_not_fit_beside_each_other_are_made_one_by_one(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    available = types.SimpleNamespace(available=0)
    monkeypatch.setattr(memory_room.psutil, "virtual_memory", lambda: available)
    monkeypatch.setattr(memory_room, "_held_by", lambda pid: 0)
    plan = workplace.write_plan(
        experiment=TOY, configurations=[{**toy(), "seeds": [1, 2, 3, 4]}],
        multiprocess=True, num_parallel=2,
    )  # fmt: skip
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0
    assert outcome.err.count("waits for memory: such runs have taken up to") == 1
    assert all(run.read_status()["peak_memory"] > 10**7 for run in workplace.folders())
