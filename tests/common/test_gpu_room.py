"""A run is started on a GPU beside others only if there is memory for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from common.machine.gpu_memory import GpuMemory
from common.run.folder import write_json
from common.run.status import RUNNING
from common.runner import plan_runner
from common.runner.plan_runner import PlanRunner
from common.runner.run_state import RunState
from common.runner.scheduling import gpu_room, local_workers
from common.runner.scheduling.fork_server import ForkServer
from common.runner.scheduling.gpu_room import GpuRoom
from common.runner.scheduling.local_workers import LocalWorkers
from common.runner.scheduling.memory_room import MemoryRoom
from common.runner.scheduling.task import Task
from tests.common.test_devices import SEEING
from tests.conftest import Workplace

GIBI = 2**30
SMALL, LARGE, NEW = "small", "large", "new"
CONTEXT = 0.5  # GiB of CUDA itself


class Run:
    def __init__(self, name: str) -> None:
        self.name = name


class Gpus:
    """Two GPUs of 80 GiB, of which others hold so much that this is free."""

    def __init__(self) -> None:
        self.free = {0: 70.0, 1: 80.0}

    def memory_of(self, gpu_ids: Any) -> dict[int, GpuMemory]:
        return {
            gpu: GpuMemory(80 * GIBI, round(self.free[gpu] * GIBI))
            for gpu in gpu_ids
            if gpu in self.free
        }


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Gpus:
    found = Gpus()
    monkeypatch.setattr(gpu_room, "memory_of", found.memory_of)
    return found


@pytest.fixture
def room(gpus: Gpus) -> GpuRoom:
    """Runs of one kind have taken 10 GiB, and those of another 40."""
    found = GpuRoom()
    for kind, peaks in {SMALL: (10, 4), LARGE: (40,)}.items():
        for peak in peaks:
            found.note(kind, peak * GIBI)
    return found


def run_of(kind: str) -> Any:
    return Run(f"a {kind} run")


def has_room(room: GpuRoom, kind: str, *gpu_ids: int) -> bool:
    return room.is_there_for(run_of(kind), kind, gpu_ids)


def test_what_runs_under_way_will_take_is_left_to_them(
    room: GpuRoom, gpus: Gpus, caplog: pytest.LogCaptureFixture
) -> None:
    first = run_of(LARGE)
    assert has_room(room, LARGE, 0)
    room.take({first: LARGE}, [0])  # it holds nothing yet
    assert not has_room(room, LARGE, 0)
    assert has_room(room, LARGE, 1)
    assert not has_room(room, LARGE, 0, 1)  # one process on each
    assert has_room(room, SMALL, 0)
    room.take({run_of(SMALL): SMALL}, [0])
    assert has_room(room, SMALL, 0)  # 80 - 10 of others - 40.5 - 10.5
    room.take({run_of(SMALL): SMALL}, [0])
    assert not has_room(room, SMALL, 0)
    assert caplog.messages == [
        "a large run waits for memory of GPU 0: such runs have taken up to 40.5 GiB, and 29.5 GiB "
        "are free",
        "a small run waits for memory of GPU 0: such runs have taken up to 10.5 GiB, and 8.5 GiB "
        "are free",
    ]
    room.leave(first)
    gpus.free[0] = 70 - 2 * 10.5
    assert has_room(room, LARGE, 0)
    gpus.free[0] = 40.0  # others take more, meanwhile
    assert not has_room(room, LARGE, 0)


def test_the_first_of_a_kind_and_a_run_alone_start(room: GpuRoom, gpus: Gpus) -> None:
    gpus.free[0] = 0.0
    assert has_room(room, LARGE, 0)
    room.take({run_of(LARGE): LARGE}, [0])
    assert has_room(room, NEW, 0)
    assert not has_room(room, SMALL, 0)


def test_gpus_of_unknown_memory_and_runs_without_gpus_have_room(room: GpuRoom) -> None:
    room.take({run_of(LARGE): LARGE}, [7])
    assert has_room(room, LARGE, 7)
    assert has_room(room, LARGE)


def test_what_others_hold_is_known_before_any_peak_is(gpus: Gpus) -> None:
    room = GpuRoom()
    assert has_room(room, LARGE, 0)
    first = run_of(LARGE)
    room.take({first: LARGE}, [0])
    room.leave(first)
    room.note(LARGE, 40 * GIBI)
    room.take({run_of(LARGE): LARGE}, [0])
    gpus.free[0] = 80.0
    assert not has_room(room, LARGE, 0)


def test_idle_workers_are_not_others(room: GpuRoom, gpus: Gpus) -> None:
    gpus.free[1] = 80 - 2 * CONTEXT
    idle = [1, 1, 0]
    assert room.is_there_for(run_of(LARGE), LARGE, [1], idle)
    room.take({run_of(LARGE): LARGE}, [1])  # in one of the two
    room.note(NEW, round((80 - 40.5 - CONTEXT) * GIBI))
    gpus.free[1] = 80.0
    assert has_room(room, NEW, 1)
    gpus.free[1] = 80 - 40.5
    assert has_room(room, NEW, 1)
    gpus.free[1] -= CONTEXT
    assert not has_room(room, NEW, 1)
    assert room.is_there_for(run_of(NEW), NEW, [1], [1])  # it is closed, or makes the run


def test_runs_in_one_process_need_what_the_largest_needs(room: GpuRoom, gpus: Gpus) -> None:
    small, large = run_of(SMALL), run_of(LARGE)
    assert has_room(room, LARGE, 1)
    room.take({small: SMALL, large: LARGE}, [1])
    assert not has_room(room, LARGE, 1)  # 80 - 40.5
    assert has_room(room, SMALL, 1)
    room.take({run_of(SMALL): SMALL}, [1])
    room.take({run_of(SMALL): SMALL}, [1])
    assert has_room(room, SMALL, 1)  # 80 - 40.5 - 2 * 10.5: not 10.5 for the small one above
    room.leave(small)
    assert not has_room(room, LARGE, 1)
    room.leave(large)
    assert has_room(room, LARGE, 1)


def test_a_run_that_was_left_to_another_process_holds_no_room(
    room: GpuRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_runner, "read_state", lambda run: RunState(RUNNING))
    left, memory = run_of(LARGE), MemoryRoom({})
    monkeypatch.setattr(memory, "_gpus", room)
    room.take({left: LARGE}, [0])
    assert not has_room(room, LARGE, 0)
    elsewhere: list[object] = []
    runner: Any = SimpleNamespace(
        _running={left}, _room=memory, _take_from_elsewhere=lambda run, _: elsewhere.append(run)
    )
    PlanRunner._ended(runner, left)
    assert elsewhere == [left]
    assert has_room(room, LARGE, 0)


class _Group:
    """A group of one worker that has none."""

    def __init__(self, task: Task, gpus_of_slot: Any, *_: object) -> None:
        self.gpu_ids = self.gpus_of_slot = list(gpus_of_slot)
        self.workers: list[Any] = []

    def start(self, tasks: Any) -> None:
        pass


def test_runs_are_spread_over_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_workers, "WorkerGroup", _Group)
    monkeypatch.setattr(ForkServer, "is_possible", lambda: False)
    workers = LocalWorkers(4, 1, (0, 1), lambda *_: None)
    task = Task(
        name="run", identity={"fingerprint": "f"}, folder="run", run="tests.toy:run",
        run_together=None, config_model="tests.toy:ToyConfig", config={}, unit="epoch", threads=1,
        import_from="",
    )  # fmt: skip
    given = []
    for _ in range(4):
        given.append(workers.gpus_for(task))
        workers.start([task])
        assert workers._busy[-1].gpu_ids == given[-1]
    assert given == [[0], [1], [0], [1]]
    for group in list(workers._busy):
        if group.gpu_ids == [1]:
            workers._busy.remove(group)
            workers._empty += [[1]]
    workers._empty.insert(0, [0])
    assert workers.gpus_for(task) == [1]


def test_runs_that_do_not_fit_beside_each_other_on_a_gpu_are_made_one_by_one(
    workplace: Workplace, two_gpus: list[str], gpus: Gpus
) -> None:
    base = {"experiment_name": "run_{size}", "pause": 0.3}
    configurations = [{"base_config": base, "options": {"size": [1, 2, 3]}}]
    plan = workplace.write_plan(
        experiment=SEEING, configurations=configurations, gpu_ids_pool=[0], runs_per_gpu=2
    )
    assert workplace.run_plan(plan, "--only", "run_1").status == 0
    (first,) = workplace.folders()
    write_json(first.status, {**first.read_status(), "peak_gpu_memory": 40 * GIBI})
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0
    assert outcome.err.count("run_3 waits for memory of GPU 0") == 1
    _, second, third = (folder.read_status() for folder in workplace.folders())
    assert second["started"] >= third["ended"] or third["started"] >= second["ended"]
