"""Killed anywhere, a plan goes on with equal results."""

from __future__ import annotations

import hashlib
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from common.run.folder import RunFolder
from common.training import checkpoint
from tests.conftest import TINY_DIGITS, TOY, Workplace, without_seconds
from tests.hostile import goes_on


def held(workplace: Workplace) -> dict[str, Any]:
    """Keys of runs that are under way until the test opens the gate, or stops them."""
    return {"epochs": 12, "random_seed": 1, "gate": str(workplace.gate)}


def study(**changes: Any) -> list[dict[str, Any]]:
    base = {**TINY_DIGITS, "epochs": 40, "lr": 0.01, **changes}
    pretrain = {**base, "use_multiple_labels_per_sample": True, "frac_samples_to_modify_labels": 0}
    finetune = {**base, "load_model_from_checkpoint": "@pretrain.checkpoint"}
    return [
        {"id": "pretrain", "base_config": pretrain},
        {"base_config": finetune, "options": {"opt_method": ["supervised", "reinforce"]}},
    ]


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def wait_for_rows(workplace: Workplace, rows: int = 1, plan: str = "plan") -> None:
    """Waits until a run has so many rows of metrics."""
    wait_for(lambda: any(num_lines(f.metrics) >= rows for f in workplace.folders(plan)))


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def results(folder: RunFolder) -> tuple[Any, ...]:
    """Metrics, weights, optimiser, generators and tables of a run."""
    state = torch.load(folder.checkpoints / "last.pt", weights_only=True)
    tensors = {name: tensor.numpy().tobytes() for name, tensor in state["model"].items()}
    optimizer = str(state["optimizer"]["state"])
    table = folder.table("per_input")
    rows = pd.read_parquet(table).to_csv() if table.exists() else ""
    return without_seconds(folder), tensors, optimizer, state["random"]["torch"].tolist(), rows


def assert_equal_plans(workplace: Workplace, one: str, other: str) -> None:
    ours, theirs = workplace.folders(one), workplace.folders(other)
    assert [folder.path.name for folder in ours] == [folder.path.name for folder in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert results(a) == results(b)
    hashes = [
        {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (workplace.path / "outputs/exps" / name / "figures").iterdir()
        }
        for name in (one, other)
    ]
    assert hashes[0] == hashes[1] != {}


@pytest.mark.slow
@pytest.mark.parametrize("scheduling", [{}, {"multiprocess": True, "num_parallel": 2}])
def test_a_plan_killed_again_and_again_ends_with_equal_results(
    workplace: Workplace, scheduling: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"configurations": study(), "figures": ["controlled_curves"], **scheduling}
    workplace.write_plan("killed", **document)
    whole = workplace.write_plan("whole", **document)
    assert workplace.run_plan(whole).status == 0

    folder = workplace.path / "outputs/exps/killed"

    def num_epochs() -> int:
        return sum(map(num_lines, folder.glob("*/metrics.jsonl")))

    for epochs in (12, 55):  # in pretraining, and in finetuning
        process = workplace.start(workplace.path / "killed.json")
        wait_for(lambda least=epochs: num_epochs() >= least)
        process.kill()
        process.communicate()
    assert workplace.run_plan(workplace.path / "killed.json").status == 0
    assert_equal_plans(workplace, "killed", "whole")


def continued_after(workplace: Workplace, damage: Any) -> None:
    """Stops a run by Ctrl-C, damages its folder, goes on, and compares with a whole run."""
    configurations = [{"base_config": held(workplace)}]
    plan = workplace.write_plan("stopped", experiment=TOY, configurations=configurations)
    process = workplace.start(plan)
    wait_for_rows(workplace, 5, "stopped")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    (folder,) = workplace.folders("stopped")
    assert folder.read_status()["status"] == "interrupted"
    damage(folder)
    workplace.gate.touch()
    assert workplace.run_plan(plan).status == 0
    whole = workplace.write_plan("whole", experiment=TOY, configurations=configurations)
    assert workplace.run_plan(whole).status == 0
    assert results(folder) == results(workplace.folders("whole")[0])


def test_ctrl_c_finishes_the_epoch_and_goes_on_later(workplace: Workplace) -> None:
    def check(folder: RunFolder) -> None:
        state = torch.load(folder.checkpoints / "last.pt", weights_only=True)
        assert state["epoch"] == num_lines(folder.metrics)

    continued_after(workplace, check)


def test_a_half_written_metrics_line_is_left_out(workplace: Workplace) -> None:
    def damage(folder: RunFolder) -> None:
        with folder.metrics.open("a") as file:
            file.write('{"epoch": 9, "train lo')

    continued_after(workplace, damage)


def test_a_hole_in_the_metrics_makes_the_run_begin_anew(workplace: Workplace) -> None:
    def damage(folder: RunFolder) -> None:
        lines = folder.metrics.read_bytes().splitlines(keepends=True)
        folder.metrics.write_bytes(b"".join([*lines[:3], lines[3][:10], b"\n", *lines[4:]]))

    continued_after(workplace, damage)


def test_a_broken_checkpoint_is_recognised_and_the_one_before_used(workplace: Workplace) -> None:
    def damage(folder: RunFolder) -> None:
        last = folder.checkpoints / "last.pt"
        last.write_bytes(last.read_bytes()[:-200])
        state = checkpoint.load_last(folder.checkpoints)
        assert state is not None
        assert state["epoch"] == 0  # the one written at the start

    continued_after(workplace, damage)


def test_without_any_checkpoint_the_run_begins_anew(workplace: Workplace) -> None:
    continued_after(workplace, lambda folder: shutil.rmtree(folder.checkpoints))


@pytest.mark.parametrize("scheduling", [{}, {"multiprocess": True, "num_parallel": 2}])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_exit_status_of_a_stopped_plan(
    workplace: Workplace, scheduling: dict[str, Any], number: signal.Signals, status: int
) -> None:
    plan = workplace.write_plan(
        experiment=TOY, configurations=[{"base_config": held(workplace), "seeds": [1, 2, 3]}],
        **scheduling,
    )  # fmt: skip
    process = workplace.start(plan)
    wait_for_rows(workplace)
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == status
    assert "waiting" in out
    assert err.count("stopping after the next checkpoint") == 1
    states = [folder.read_status()["status"] for folder in workplace.folders()]
    assert "interrupted" in states
    assert "running" not in states


@pytest.mark.parametrize("scheduling", [{}, {"multiprocess": True, "num_parallel": 2}])
def test_a_second_ctrl_c_stops_at_once(workplace: Workplace, scheduling: dict[str, Any]) -> None:
    base = {"epochs": 12, "random_seed": 1, "pause": 600.0}
    plan = workplace.write_plan(
        experiment=TOY, configurations=[{"base_config": base}], **scheduling
    )
    process = workplace.start(plan)
    wait_for(
        lambda: any((folder.checkpoints / "last.pt").exists() for folder in workplace.folders())
    )
    process.send_signal(signal.SIGINT)
    wait_for(lambda: "stopping after the next checkpoint" in process.heard())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode == 130
    assert workplace.folders()[0].read_status()["status"] == "interrupted"


@pytest.mark.slow
def test_a_terminal_that_closes_says_so_twice_and_nohup_keeps_that_away(
    workplace: Workplace,
) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[{"base_config": held(workplace)}])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        kept = workplace.start_fresh(plan)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for_rows(workplace)
    kept.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert kept.poll() is None
    kept.kill()
    kept.communicate()
    process = workplace.start(plan)
    wait_for(lambda: workplace.folders()[0].read_status().get("attempt") == 2)
    for _ in range(2):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    process.communicate()
    assert process.returncode == 129
    assert workplace.folders()[0].read_status()["reason"] != "stopped at once"


_IMPORTED = """
import time
from pathlib import Path
Path("begun").touch()
time.sleep(600)
"""


@pytest.mark.parametrize("is_begun", [False, True], ids=["the program's", "the user's"])
def test_ctrl_c_while_modules_are_imported_ends_with_one_line(
    workplace: Workplace, is_begun: bool
) -> None:
    (workplace.path / "slow_import.py").write_text(_IMPORTED)
    plan = workplace.write_plan(experiment="custom:slow_import:EXPERIMENT", configurations=[{}])
    process = workplace.start_fresh(plan)
    wait_for(lambda: _catches(process.pid, signal.SIGINT, signal.SIGTERM))
    if is_begun:
        wait_for((workplace.path / "begun").exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "\nstopped\n")


def _catches(pid: int, *numbers: signal.Signals) -> bool:
    """Whether a process has handlers of its own for these signals."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    caught = int(fields["SigCgt"], 16)
    return all(caught & (1 << (number - 1)) for number in numbers)


def test_status_tells_of_a_running_and_of_a_killed_plan(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[{"base_config": held(workplace)}])
    process = workplace.start(plan)
    wait_for_rows(workplace)
    assert "1 running" in workplace.run_plan(plan, "--status").out
    process.kill()
    process.communicate()
    # The kernel ends the process that works, in a moment.
    wait_for(lambda: "1 interrupted" in workplace.run_plan(plan, "--status").out)


def test_workers_end_with_their_parent(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment=TOY, configurations=[{"base_config": held(workplace), "seeds": [1, 2]}],
        multiprocess=True, num_parallel=2,
    )  # fmt: skip
    process = workplace.start(plan)
    wait_for(lambda: sum(num_lines(folder.metrics) > 0 for folder in workplace.folders()) == 2)
    workers = [folder.read_status()["pid"] for folder in workplace.folders()]
    process.kill()
    process.communicate()
    wait_for(lambda: not any(map(goes_on, workers)))


def test_a_resumed_run_keeps_its_thread_count(workplace: Workplace) -> None:
    from common.run.folder import read_json, write_json

    plan = workplace.write_plan(experiment=TOY, configurations=[{"base_config": {"epochs": 1}}])
    workplace.run_plan(plan)
    (folder,) = workplace.folders()
    write_json(folder.provenance, {**read_json(folder.provenance), "threads": 3})
    write_json(folder.status, {**folder.read_status(), "status": "interrupted"})
    workplace.run_plan(plan)
    assert folder.read_status()["threads"] == 3
    assert torch.get_num_threads() == 3
