"""Runs trained together end each for itself, and go on after any end."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.experiment import EXPERIMENTS, Member
from common.process.stopping import StoppedAtOnce
from common.run.folder import RunFolder, read_json_lines
from common.runner.progress import Display
from common.runner.scheduling.attempt import attempt
from common.runner.scheduling.task import Task
from common.training import checkpoint
from sft_vs_rft.vectorized.together import run_together
from tests.common.test_continuing import num_lines, wait_for
from tests.conftest import Workplace
from tests.sft_vs_rft.test_vectorized import (
    BASE,
    PRETRAIN,
    assert_equal_runs,
    by_name,
    configurations,
    made_both_ways,
)


def study(epochs: int) -> list[dict[str, Any]]:
    shared = {**BASE, "epochs": epochs, "optimizer": "sgd", "lr": 0.05}
    pretrain = shared | PRETRAIN | {"experiment_name": "pretrain"}
    finetune = shared | {
        "experiment_name": "{opt_method}", "load_model_from_checkpoint": "@pretrain.checkpoint"
    }  # fmt: skip
    return [
        {"id": "pretrain", "base_config": pretrain},
        {
            "base_config": finetune,
            "options": {"opt_method": ["supervised", "expected_reinforce", "reinforce"]},
        },
    ]


def test_stages_follow_each_other_together(workplace: Workplace) -> None:
    made_both_ways(workplace, configurations=study(3), seeds=[1, 2, 3, 4])
    alone = by_name(workplace, "alone")
    assert len(alone) == 16
    for name, folder in by_name(workplace, "together").items():
        assert_equal_runs(folder, alone[name])
        assert folder.read_status()["num_together"] == 4
        for tensor in checkpoint.load(folder.checkpoints / "last.pt")["model"].values():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes
    with (workplace.path / "outputs/exps/together/index.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done"] * 16


def test_one_that_fails_fails_alone(workplace: Workplace) -> None:
    shared = {**BASE, "optimizer": "sgd", "lr": 0.1}
    runs = [
        {"base_config": {**shared, "experiment_name": "good"}, "options": {"lr": [0.1, 0.2]}},
        {"base_config": {**shared, "experiment_name": "wild", "lr": 1e30}},
    ]
    for name, vectorize in (("together", True), ("alone", False)):
        plan = workplace.write_plan(name, configurations=runs, vectorize=vectorize)
        assert workplace.run_plan(plan).status == 1
    alone = by_name(workplace, "alone")
    for name, folder in by_name(workplace, "together").items():
        status, expected = folder.read_status(), alone[name].read_status()
        assert status["num_together"] == 3
        assert status["status"] == expected["status"]
        assert (status["reason"] or "").replace("/together/", "/alone/") == (
            expected["reason"] or ""
        )
        if name.startswith("good"):
            assert status["status"] == "done"
            assert_equal_runs(folder, alone[name])
        if name.startswith("wild"):
            assert "'lr'" in status["reason"]
            assert "Traceback" in folder.log.read_text()
            assert all(
                tensor.isfinite().all()
                for tensor in checkpoint.load(folder.checkpoints / "last.pt")["model"].values()
            )
        if name.startswith("good"):
            assert "wild" not in folder.log.read_text()
            assert "not finite" not in folder.log.read_text()


LONG = configurations(
    [{}, {"lr": 0.002, "random_seed": 5}], optimizer="sgd", lr=0.004, epochs=300,
    validate_every=80, save_checkpoints=True, save_every_num_val=3,
)  # fmt: skip


ROWS = 20
"""Epochs after which runs that are made together wait for the gate, unless they are to stop."""


def run_held(members: Sequence[Any]) -> None:
    """Makes controlled runs together, which wait."""
    context = members[0].context
    gate = context.folder.path.parent / "gate"

    def progress(done: int, *told: Any) -> None:
        context.progress(done, *told)
        while done >= ROWS and not (gate.exists() or context.stop_requested()):
            time.sleep(0.01)

    for member in members:
        member.context = replace(member.context, progress=progress)
    run_together(members)


HELD = replace(EXPERIMENTS.get("sft_vs_rft"), run_together=f"{__name__}:run_held")
EXPERIMENT = f"custom:{__name__}:HELD"


def run_and_disturb(
    workplace: Workplace, plan: Path, count: int, disturb: Callable[[], None]
) -> int:
    """Runs the plan of ``count`` runs in this process, but for workers; gives the exit status."""

    def when_under_way() -> None:
        def is_under_way() -> bool:
            rows = [num_lines(folder.metrics) for folder in workplace.folders("together")]
            return rows == [ROWS] * count

        wait_for(is_under_way)
        disturb()

    thread = threading.Thread(target=when_under_way)
    thread.start()
    status = workplace.run_plan(plan).status
    thread.join()
    return status


def gate(workplace: Workplace) -> Path:
    return workplace.path / "outputs/exps/together/gate"


def made_alone(workplace: Workplace, **document: Any) -> dict[str, RunFolder]:
    """The same runs, made alone and never stopped."""
    whole = workplace.write_plan("alone", experiment=EXPERIMENT, configurations=LONG, **document)
    assert workplace.run_plan(whole).status == 0
    return by_name(workplace, "alone")


def assert_whole(workplace: Workplace, alone: dict[str, RunFolder]) -> None:
    """The plan's runs equal those of a plan that made them alone and was never stopped."""
    for name, folder in by_name(workplace, "together").items():
        assert [row["epoch"] for row in read_json_lines(folder.metrics)] == list(range(300))
        assert_equal_runs(folder, alone[name])


def test_after_ctrl_c_runs_at_different_epochs_go_on_together(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = workplace.write_plan(
        "together", experiment=EXPERIMENT, configurations=LONG, vectorize=True
    )
    status = run_and_disturb(workplace, plan, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert status == 130
    folders = workplace.folders("together")
    for folder in folders:
        assert folder.read_status()["status"] == "interrupted"
        state = checkpoint.load(folder.checkpoints / "last.pt")
        assert state["epoch"] == num_lines(folder.metrics) < 240
    gate(workplace).touch()

    alone = made_alone(workplace)
    further = alone[folders[1].path.name]
    shutil.copy(further.metrics, folders[1].metrics)
    shutil.copy(further.checkpoints / "epoch_240.pt", folders[1].checkpoints / "last.pt")
    shown: list[int] = []
    monkeypatch.setattr(Display, "progress", lambda self, tasks, done, *_: shown.append(done))
    assert workplace.run_plan(plan).status == 0
    assert shown == list(range(shown[0], 301))  # of the run furthest behind
    assert {folder.read_status()["num_together"] for folder in folders} == {2}
    assert_whole(workplace, alone)


@pytest.mark.slow
def test_workers_share_runs_and_those_that_lose_theirs_go_on_alone(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        "together", experiment=EXPERIMENT, configurations=LONG, seeds=[1, 2], vectorize=True,
        multiprocess=True, num_parallel=2,
    )  # fmt: skip
    killed = []

    def kill() -> None:
        statuses = [folder.read_status() for folder in workplace.folders("together")]
        killed.append(next(s["pid"] for s in statuses if s["status"] == "running"))
        os.kill(killed[0], signal.SIGKILL)
        gate(workplace).touch()

    assert run_and_disturb(workplace, plan, 4, kill) == 0
    assert_whole(workplace, made_alone(workplace, seeds=[1, 2]))
    statuses = [folder.read_status() for folder in workplace.folders("together")]
    assert (
        sorted((s["num_together"], s["attempt"]) for s in statuses) == [(1, 2)] * 2 + [(2, 1)] * 2
    )


def test_the_user_is_told_once_why_runs_are_made_alone(workplace: Workplace) -> None:
    runs = [{}, {"lr": 0.2}, {"mlp_hidden_layer_sizes": [9]}]
    runs += [{"precision": "bf16"}, {"precision": "bf16", "lr": 0.2}]
    plan = workplace.write_plan(configurations=configurations(runs, epochs=1), vectorize=True)
    told = workplace.run_plan(plan).err
    numbers = [f.read_status()["num_together"] for f in workplace.folders()]
    assert numbers == [2, 2, 1, 1, 1]
    assert [line for line in told.splitlines() if "'vectorize'" in line] == [
        "warning: 'vectorize': run2 made alone: no other run differs from it only in numbers and "
        "seeds",
        "warning: 'vectorize': run3 and 1 more made alone: 'precision' = 'bf16', and only "
        "'float32' can be batched",
    ]


def stop_at_once(members: Sequence[Member]) -> None:
    with members[1].on_its_own():
        raise StoppedAtOnce


def break_down(members: Sequence[Member]) -> None:
    members[0].done(0.5)
    raise MemoryError("too many")


def task(folder: Path, function: str) -> Task:
    return Task(
        name=folder.name,
        identity={"fingerprint": folder.name},
        folder=str(folder),
        run="tests.toy:run",
        run_together=f"{__name__}:{function}",
        config_model="tests.toy:ToyConfig",
        config={"random_seed": 1},
        threads=1,
        unit="epoch",
    )


def make(tasks: list[Task]) -> list[dict[str, Any]]:
    try:
        attempt(tasks, stop_requested=lambda: False, progress=lambda *_: None)
    finally:
        found = [RunFolder(Path(task.folder)).read_status() for task in tasks]
        states.extend(status["status"] for status in found)
    return found


states: list[str] = []


def test_a_second_ctrl_c_and_a_breakdown_end_all_that_is_under_way(tmp_path: Path) -> None:
    tasks = [task(tmp_path / name, "stop_at_once") for name in "abc"]
    states.clear()
    with pytest.raises(StoppedAtOnce):
        make(tasks)
    assert states == ["interrupted"] * 3

    found = make([task(tmp_path / name, "break_down") for name in "def"])
    assert [status["status"] for status in found] == ["done", "failed", "failed"]
    assert found[2]["reason"].startswith("MemoryError: too many (")

    wrong = replace(task(tmp_path / "g", "break_down"), config_model="tests.toy:Nothing")
    found = make([wrong, *(task(tmp_path / name, "break_down") for name in "hi")])
    assert [status["status"] for status in found] == ["failed", "done", "failed"]
    assert "tests.toy:Nothing" in found[0]["reason"]
