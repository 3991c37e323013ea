"""Several runners on one plan: each run is made once, and what a lost runner had is taken over."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from common.process import identity
from common.run import lease_files
from common.run.folder import RunFolder
from common.run.lease import take
from common.runner.index import read_index
from common.runner.scheduling.local_workers import LocalWorkers
from common.runner.scheduling.task import Task
from tests.common.executors.site import results, wait_for
from tests.common.plans import plan_folder, toy
from tests.conftest import TINY_DIGITS, TOY, Workplace, without_seconds
from tests.hostile import goes_on
from tests.programs import Program
from tests.toy import GATED

_EPOCHS = 12
WORKERS: dict[str, Any] = {"multiprocess": True, "num_parallel": 2}
BOTH = [{}, pytest.param(WORKERS, marks=pytest.mark.slow)]


def held(workplace: Workplace, **keys: Any) -> dict[str, Any]:
    """Keys of runs that are under way until the test opens the gate."""
    return {"epochs": _EPOCHS, "random_seed": 1, "gate": str(workplace.gate), **keys}


def num_rows(folder: RunFolder) -> int:
    return folder.metrics.read_bytes().count(b"\n") if folder.metrics.exists() else 0


def wait_for_rows(workplace: Workplace, rows: int = 1) -> None:
    """Waits until a run has so many rows of metrics."""
    wait_for(lambda: any(num_rows(folder) >= rows for folder in workplace.folders()))


def ended(*runners: Program) -> list[int | None]:
    """Their exit statuses."""
    for runner in runners:
        runner.communicate(300)
    return [runner.returncode for runner in runners]


def attempts(workplace: Workplace) -> dict[str, tuple[str, int]]:
    statuses = [folder.read_status() for folder in workplace.folders()]
    return {
        status["fingerprint"]: (status["status"], status.get("attempt", 0)) for status in statuses
    }


def index(workplace: Workplace) -> list[tuple[str, str]]:
    """Names and states of all runs in the index."""
    rows = read_index(plan_folder(workplace))
    return sorted((row["name"], row["status"]) for row in rows)


def staged(**keys: Any) -> list[dict[str, Any]]:
    """Runs of which some start from others."""
    first = {"id": "first", **toy(experiment_name="first", **keys), "seeds": [1, 2, 3]}
    return [first, {**toy(start="@first.checkpoint", **keys), "seeds": [1, 2, 3]}]


@pytest.mark.parametrize("keys", BOTH)
def test_each_run_is_made_once(workplace: Workplace, keys: dict[str, Any]) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=staged(epochs=3), **keys)
    runners = [workplace.start(plan) for _ in range(3)]
    assert ended(*runners) == [0, 0, 0]
    assert set(attempts(workplace).values()) == {("done", 1)}
    assert len(attempts(workplace)) == 6
    assert [num_rows(folder) for folder in workplace.folders()] == [3] * 6
    assert index(workplace) == [("exp", "done")] * 3 + [("first", "done")] * 3
    assert list(plan_folder(workplace).path.rglob("*.tmp")) == []


@pytest.mark.slow
def test_runs_that_are_made_together_are_made_once(workplace: Workplace) -> None:
    base = {"base_config": TINY_DIGITS, "seeds": [1, 2, 3, 4]}
    plan = workplace.write_plan(configurations=[base], vectorize=True)
    assert ended(*[workplace.start(plan) for _ in range(2)]) == [0, 0]
    assert list(attempts(workplace).values()) == [("done", 1)] * 4
    assert {num_rows(folder) for folder in workplace.folders()} == {2}


@pytest.mark.parametrize("keys", BOTH)
def test_what_a_killed_runner_had_is_taken_over(workplace: Workplace, keys: dict[str, Any]) -> None:
    configurations = [{**toy(**held(workplace)), "seeds": [1, 2, 3, 4]}]
    plan = workplace.write_plan(experiment=TOY, configurations=configurations, **keys)
    first = workplace.start(plan)
    at_once = keys.get("num_parallel", 1)
    wait_for(lambda: [num_rows(folder) for folder in workplace.folders()] == [GATED] * at_once)
    had = {folder.path: folder.read_status()["pid"] for folder in workplace.folders()}
    others = [workplace.start(plan) for _ in range(2)]
    first.kill()
    wait_for(lambda: not any(map(goes_on, had.values())))
    workplace.gate.touch()
    assert ended(*others) == [0, 0]
    for folder in workplace.folders():
        found = folder.read_status()
        count = 2 if folder.path in had else 1
        assert (found["status"], found["attempt"], found["lost"]) == ("done", count, 0)
    whole = workplace.write_plan("whole", experiment=TOY, configurations=configurations)
    assert workplace.run_plan(whole).status == 0
    for ours, theirs in zip(workplace.folders(), workplace.folders("whole"), strict=True):
        assert results(ours) == results(theirs)


@pytest.mark.parametrize("way", ["failed", "interrupted"])
def test_what_another_runner_has_made_counts(workplace: Workplace, way: str) -> None:
    keys = held(workplace, **({"fail_at": _EPOCHS - 1} if way == "failed" else {}))
    configurations = [
        {"id": "first", **toy(experiment_name="first", **keys)},
        toy(start="@first.checkpoint"),
    ]
    plan = workplace.write_plan(experiment=TOY, configurations=configurations)
    first = workplace.start(plan)
    wait_for_rows(workplace, 4)
    second = workplace.start(plan)
    time.sleep(0.5)  # so that it may find the run under way
    if way == "interrupted":
        first.send_signal(signal.SIGINT)
        assert ended(first) == [130]
        workplace.gate.touch()
        assert ended(second) == [0]
        assert sorted(attempts(workplace).values()) == [("done", 1), ("done", 2)]
    else:
        workplace.gate.touch()
        assert ended(first, second) == [1, 1]
        assert index(workplace) == [("exp", "skipped"), ("first", "failed")]
        assert ("failed", 1) in attempts(workplace).values()


def test_a_runner_of_some_runs_lists_what_others_have_made(workplace: Workplace) -> None:
    named = [toy(experiment_name="one"), toy(experiment_name="other", **held(workplace))]
    plan = workplace.write_plan(experiment=TOY, configurations=named)
    second = workplace.start(plan, "--only", "other")
    wait_for_rows(workplace)
    assert ended(workplace.start(plan, "--only", "one")) == [0]
    workplace.gate.touch()
    assert ended(second) == [0]
    assert index(workplace) == [("one", "done"), ("other", "done")]


def files(folder: Path) -> dict[str, bytes]:
    """All files but leases, which runners look after."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in found if not path.name.startswith(".lease-")}


@pytest.mark.parametrize("keys", BOTH)
def test_a_run_that_is_held_is_left_alone(workplace: Workplace, keys: dict[str, Any]) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(), toy(epochs=2)], **keys)
    assert workplace.run_plan(plan).status == 0
    folder = next(folder for folder in workplace.folders() if num_rows(folder) == 3)
    for path in folder.path.iterdir():
        if path.is_file():
            path.unlink()
    lease = take(folder.path)
    before = files(folder.path)
    runner = workplace.start(plan)
    time.sleep(3)
    assert runner.poll() is None
    assert files(folder.path) == before
    lease.release()
    assert ended(runner) == [0]
    assert folder.read_status()["status"] == "done"


def test_all_ranks_leave_a_run_alone_that_is_held(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    lease = take(folder)
    task = Task(
        name="run", identity={"fingerprint": "f"}, folder=str(folder), run="tests.toy:run",
        run_together=None, config_model="tests.toy:ToyConfig", config={}, unit="epoch", threads=1,
        num_ranks=2, import_from=str(tmp_path),
    )  # fmt: skip
    workers = LocalWorkers(1, 1, (), lambda *_: None, most_ranks=2)
    try:
        workers.start([task])
        deadline = time.monotonic() + 300
        while not (ended := workers.wait()) and time.monotonic() < deadline:
            pass
        assert ended == [task]
        assert workers.free_slots == 1
        assert [path.name for path in folder.iterdir()] == [".lease-1"]
    finally:
        workers.close()
        lease.release()


def test_runs_are_not_moved_while_another_runner_makes_them(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.runner.selection._LONGEST_WAIT", 0.2)
    configurations = [toy(experiment_name="one"), toy(experiment_name="other", **held(workplace))]
    plan = workplace.write_plan(experiment=TOY, configurations=configurations)
    runner = workplace.start(plan)
    wait_for_rows(workplace, 5)
    outcome = workplace.run_plan(plan, "--fresh")
    assert outcome.status == 2
    pids = [str(folder.read_status()["pid"]) for folder in workplace.folders()]
    assert re.search(f"is being made by process ({'|'.join(pids)}) on", outcome.err)
    assert "--fresh" in outcome.err
    assert not plan_folder(workplace).replaced.exists()
    workplace.gate.touch()
    assert ended(runner) == [0]
    assert set(attempts(workplace).values()) == {("done", 1)}
    assert workplace.run_plan(plan, "--fresh").status == 0
    assert len(list(plan_folder(workplace).replaced.iterdir())) == 2


def of_another_machine(monkeypatch: pytest.MonkeyPatch, expiry: float) -> None:
    """This process takes itself for one of another machine, with less patience."""
    monkeypatch.setattr(identity, "this_machine", lambda: "0123abcd")
    monkeypatch.setattr(lease_files, "EXPIRY_SECONDS", expiry)


def test_another_machine_sees_by_the_lease_what_runs(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(**held(workplace))])
    runner = workplace.start(plan)
    wait_for_rows(workplace)
    of_another_machine(monkeypatch, 600.0)
    assert "1 running" in workplace.run_plan(plan, "--status").out
    runner.kill()
    runner.communicate()
    assert "1 running" in workplace.run_plan(plan, "--status").out
    monkeypatch.setattr(lease_files, "EXPIRY_SECONDS", 0.0)
    assert "1 interrupted" in workplace.run_plan(plan, "--status").out


@pytest.mark.parametrize("keys", BOTH)
def test_a_process_that_was_stopped_superseded_and_woken_writes_nothing(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    configurations = [toy(**held(workplace))]
    plan = workplace.write_plan(experiment=TOY, configurations=configurations, **keys)
    process = workplace.start(plan)
    wait_for_rows(workplace, 4)
    (folder,) = workplace.folders()
    stopped: int = folder.read_status()["pid"]
    os.kill(stopped, signal.SIGSTOP)
    workplace.gate.touch()
    try:
        of_another_machine(monkeypatch, 0.5)
        assert workplace.run_plan(plan, "--set", "multiprocess=false").status == 0
        before = files(folder.path)
    finally:
        os.kill(stopped, signal.SIGCONT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert f"was taken over while process {stopped} stood still" in err
    assert files(folder.path) == before
    found = folder.read_status()
    assert (found["status"], found["attempt"], found["pid"]) == ("done", 2, os.getpid())
    whole = workplace.write_plan("whole", experiment=TOY, configurations=configurations)
    assert workplace.run_plan(whole).status == 0
    assert results(folder) == results(workplace.folders("whole")[0])
    assert len(without_seconds(folder)) == _EPOCHS
