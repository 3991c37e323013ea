"""Runs trained together end each for itself, and go on after any end."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common import checkpoint
from common.experiment import Member
from common.run_folder import RunFolder, read_json_lines
from common.scheduling.attempt import attempt
from common.scheduling.task import Task
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
    document = {"configurations": study(3), "seeds": [1, 2, 3, 4]}
    made_both_ways(workplace, **document)
    workers = workplace.write_plan(
        "workers", **document, vectorize=True, multiprocess=True, num_parallel=2
    )
    assert workplace.run_plan(workers).status == 0
    alone = by_name(workplace, "alone")
    assert len(alone) == 16
    for plan, slots in (("together", 1), ("workers", 2)):
        for name, folder in by_name(workplace, plan).items():
            assert_equal_runs(folder, alone[name])
            number = folder.read_status()["num_together"]
            if name.startswith("reinforce"):
                assert number == 1
            elif slots == 1 or name.startswith("pretrain"):
                assert number == 4 // slots  # later it depends on which worker ends first
            for tensor in checkpoint.load(folder.checkpoints / "last.pt")["model"].values():
                assert tensor.untyped_storage().nbytes() == tensor.nbytes
        with (workplace.path / "outputs/exps" / plan / "index.csv").open() as file:
            assert [row["status"] for row in csv.DictReader(file)] == ["done"] * 16


def test_one_that_fails_fails_alone(workplace: Workplace) -> None:
    shared = {**BASE, "optimizer": "sgd", "lr": 0.1}
    odd = {**shared, **PRETRAIN, "mlp_hidden_layer_sizes": [9], "experiment_name": "odd"}
    runs = [
        {"base_config": {**shared, "experiment_name": "good"}, "options": {"lr": [0.1, 0.2]}},
        {"base_config": {**shared, "experiment_name": "wild", "lr": 1e30}},
        {"base_config": {**shared, "experiment_name": "misfit",
                         "load_model_from_checkpoint": "@odd.checkpoint"}},
        {"id": "odd", "base_config": odd},
    ]  # fmt: skip
    for name, vectorize in (("together", True), ("alone", False)):
        plan = workplace.write_plan(name, configurations=[runs[3], *runs[:3]], vectorize=vectorize)
        assert workplace.run_plan(plan, "--only", "odd").status == 0
        assert workplace.run_plan(plan).status == 1
    alone = by_name(workplace, "alone")
    for name, folder in by_name(workplace, "together").items():
        status, expected = folder.read_status(), alone[name].read_status()
        assert status["num_together"] == (1 if name.startswith("odd") else 4)
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
        if name.startswith(("misfit", "good")):
            assert "wild" not in folder.log.read_text()
            assert "not finite" not in folder.log.read_text()


LONG = configurations(
    [{}, {"lr": 0.01, "random_seed": 5}], optimizer="sgd", lr=0.02, epochs=300,
    validate_every=80, save_checkpoints=True, save_every_num_val=3,
)  # fmt: skip


def stopped(workplace: Workplace, number: signal.Signals, **document: Any) -> Path:
    """A plan that was stopped in the middle of its epochs."""
    plan = workplace.write_plan("together", configurations=LONG, vectorize=True, **document)
    process = workplace.start(plan)

    def is_under_way() -> bool:
        assert process.poll() is None, process.communicate()
        return any(num_lines(folder.metrics) > 20 for folder in workplace.folders("together"))

    wait_for(is_under_way)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    return plan


def made_alone(workplace: Workplace) -> dict[str, RunFolder]:
    """The same runs, made alone and never stopped."""
    whole = workplace.write_plan("alone", configurations=LONG)
    assert workplace.run_plan(whole).status == 0
    return by_name(workplace, "alone")


def assert_whole(workplace: Workplace, alone: dict[str, RunFolder]) -> None:
    """The plan's runs equal those of a plan that made them alone and was never stopped."""
    for name, folder in by_name(workplace, "together").items():
        assert [row["epoch"] for row in read_json_lines(folder.metrics)] == list(range(300))
        assert_equal_runs(folder, alone[name])


def test_after_a_kill_runs_at_different_epochs_go_on_together(workplace: Workplace) -> None:
    plan = stopped(workplace, signal.SIGKILL)
    alone = made_alone(workplace)
    folders = workplace.folders("together")
    further = alone[folders[1].path.name]  # the second one's checkpoint is of a later epoch
    shutil.copy(further.metrics, folders[1].metrics)
    shutil.copy(further.checkpoints / "epoch_240.pt", folders[1].checkpoints / "last.pt")
    epochs = [checkpoint.load(f.checkpoints / "last.pt")["epoch"] for f in folders]
    assert epochs == [0, 240]
    assert workplace.run_plan(plan).status == 0
    assert {folder.read_status()["num_together"] for folder in folders} == {2}
    assert_whole(workplace, alone)


def test_after_ctrl_c_each_can_go_on_alone(workplace: Workplace) -> None:
    plan = stopped(workplace, signal.SIGINT)
    for folder in workplace.folders("together"):
        assert folder.read_status()["status"] == "interrupted"
        state = checkpoint.load(folder.checkpoints / "last.pt")
        assert state["epoch"] == num_lines(folder.metrics) < 300
    assert workplace.run_plan(plan, "--set", "vectorize=false").status == 0
    assert {f.read_status()["num_together"] for f in workplace.folders("together")} == {1}
    assert_whole(workplace, made_alone(workplace))


def test_runs_that_lose_their_worker_go_on_alone(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        "together", configurations=LONG, vectorize=True, multiprocess=True, num_parallel=1
    )
    numbers = []

    def kill() -> None:
        wait_for(lambda: any(num_lines(f.metrics) > 20 for f in workplace.folders("together")))
        status = workplace.folders("together")[0].read_status()
        numbers.append(status["num_together"])
        os.kill(status["pid"], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert workplace.run_plan(plan).status == 0
    killer.join()
    assert numbers == [2]
    for folder in workplace.folders("together"):
        status = folder.read_status()
        assert (status["num_together"], status["attempt"]) == (1, 2)


def stop_at_once(members: Sequence[Member]) -> None:
    with members[1].on_its_own():
        raise KeyboardInterrupt


def break_down(members: Sequence[Member]) -> None:
    members[0].done(0.5)
    raise MemoryError("too many")


def task(folder: Path, function: str) -> Task:
    return Task(
        name=folder.name,
        fingerprint="f",
        folder=str(folder),
        run="tests.toy:run",
        run_together=f"{__name__}:{function}",
        config_model="tests.toy:ToyConfig",
        config={"random_seed": 1},
        threads=1,
    )


def make(tasks: list[Task]) -> list[dict[str, Any]]:
    try:
        attempt(tasks, stop_requested=lambda: False, progress=lambda done, total: None)
    finally:
        found = [RunFolder(Path(task.folder)).read_status() for task in tasks]
        states.extend(status["status"] for status in found)
    return found


states: list[str] = []


def test_a_second_ctrl_c_and_a_breakdown_end_all_that_is_under_way(tmp_path: Path) -> None:
    tasks = [task(tmp_path / name, "stop_at_once") for name in "abc"]
    states.clear()
    with pytest.raises(KeyboardInterrupt):
        make(tasks)
    assert states == ["interrupted"] * 3

    found = make([task(tmp_path / name, "break_down") for name in "def"])
    assert [status["status"] for status in found] == ["done", "failed", "failed"]
    assert found[2]["reason"] == "MemoryError: too many"

    wrong = replace(task(tmp_path / "g", "break_down"), config_model="tests.toy:Nothing")
    found = make([wrong, *(task(tmp_path / name, "break_down") for name in "hi")])
    assert [status["status"] for status in found] == ["failed", "done", "failed"]
    assert "tests.toy:Nothing" in found[0]["reason"]
