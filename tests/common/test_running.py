"""What becomes of runs: failures, workers that die, devices, and what their folders tell."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from common.run.folder import read_json, read_json_lines
from tests.common.plans import index, toy
from tests.conftest import TINY_DIGITS, TOY, Workplace, without_seconds

PARALLEL: dict[str, Any] = {"multiprocess": True, "num_parallel": 2}


@pytest.mark.parametrize("scheduling", [{}, PARALLEL], ids=["in process", "workers"])
def test_one_failure_leaves_the_others_done(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    plan = workplace.write_plan(
        experiment=TOY,
        configurations=[
            {"id": "bad", **toy(experiment_name="bad", fail_at=1)},
            toy(experiment_name="after_bad", start="@bad.checkpoint"),
            toy(experiment_name="good", lr=0.2),
        ],
        **scheduling,
    )
    outcome = workplace.run_plan(plan)
    assert outcome.status == 1
    states = {name: row["status"] for name, row in index(workplace).items()}
    assert states == {"bad": "failed", "after_bad": "skipped", "good": "done"}
    bad = next(folder for folder in workplace.folders() if folder.path.name.startswith("bad"))
    status = bad.read_status()
    line = r"\(.*/tests/toy\.py, line \d+\)"
    assert re.fullmatch(f"ZeroDivisionError: as the plan says {line}", status["reason"])
    assert "raise ZeroDivisionError" in status["traceback"]
    assert "Traceback" in bad.log.read_text()
    assert "refers to bad, which is failed" in outcome.out


def test_fail_fast_starts_nothing_more(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment=TOY,
        configurations=[toy(experiment_name="bad", fail_at=0), toy(experiment_name="good")],
    )
    assert workplace.run_plan(plan, "--fail_fast").status == 1
    assert index(workplace)["good"]["status"] == "waiting"


def test_a_dead_worker_is_replaced_and_its_run_continued_with_equal_results(
    workplace: Workplace,
) -> None:
    killed = toy(kill_at=2, experiment_name="killed")
    quiet = toy(experiment_name="quiet", lr=0.2)
    plan = workplace.write_plan(experiment=TOY, configurations=[killed, quiet], **PARALLEL)
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0
    assert "ended by SIGKILL" in outcome.err
    by_name = {folder.path.name.partition("-")[0]: folder for folder in workplace.folders()}
    assert by_name["killed"].read_status()["attempt"] == 2
    assert by_name["quiet"].read_status()["attempt"] == 1

    whole = workplace.write_plan("whole", experiment=TOY, configurations=[toy()])
    assert workplace.run_plan(whole).status == 0
    assert without_seconds(by_name["killed"]) == without_seconds(workplace.folders("whole")[0])


def test_a_run_whose_worker_dies_too_often_has_failed(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment=TOY, configurations=[toy(kill_at=1)], max_attempts=1, **PARALLEL
    )
    outcome = workplace.run_plan(plan)
    assert outcome.status == 1
    (folder,) = workplace.folders()
    assert folder.read_status()["status"] == "failed"
    assert folder.read_status()["reason"] == (
        "its worker process was ended by SIGKILL (out of memory?) (1 attempt)"
    )
    assert workplace.run_plan(plan).status == 1
    assert folder.read_status()["attempt"] == 1
    assert workplace.run_plan(plan, "--retry_failed").status == 0  # on request it goes on
    assert folder.read_status()["lost"] == 0


def test_a_run_that_is_tried_again_has_all_its_attempts_once(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment="custom:tests.hostile:EXPERIMENT",
        configurations=[{"base_config": {"act": "killed"}}], max_attempts=2, **PARALLEL,
    )  # fmt: skip
    for attempts in (2, 4):
        assert workplace.run_plan(plan, "--retry_failed").status == 1
        (folder,) = workplace.folders()
        found = folder.read_status()
        assert (found["status"], found["attempt"], found["lost"]) == ("failed", attempts, 2)


def test_workers_are_reused_and_compute_with_their_share_of_the_cores(
    workplace: Workplace,
) -> None:
    plan = workplace.write_plan(
        experiment=TOY, configurations=[{**toy(), "seeds": list(range(6))}], **PARALLEL
    )
    assert workplace.run_plan(plan).status == 0
    statuses = [folder.read_status() for folder in workplace.folders()]
    assert len(statuses) == 6
    assert len({status["pid"] for status in statuses}) == 2
    provenance = read_json(workplace.folders()[0].provenance)
    assert provenance["threads"] == statuses[0]["threads"] >= 1


@pytest.mark.parametrize(
    ("variable", "key", "arguments", "threads"),
    [
        ("3", None, [], 3),
        ("4,2", None, [], 4),
        ("3", 2, [], 2),
        ("3", 2, ["--num_threads", "5"], 5),
        ("many", None, [], 7),
        ("0", None, [], 7),
    ],
)
def test_threads_are_those_asked_for(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch,
    variable: str, key: int | None, arguments: list[str], threads: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(7)))
    plan = workplace.write_plan(experiment=TOY, num_threads=key, configurations=[toy(epochs=1)])
    assert workplace.run_plan(plan, *arguments).status == 0
    (folder,) = workplace.folders()
    assert folder.read_status()["threads"] == torch.get_num_threads() == threads


def test_serial_and_parallel_runs_are_equal(workplace: Workplace) -> None:
    configurations = [{**toy(), "seeds": [1, 2, 3]}]
    serial = workplace.write_plan("serial", experiment=TOY, configurations=configurations)
    parallel = workplace.write_plan(
        "parallel", experiment=TOY, configurations=configurations, **PARALLEL
    )
    assert workplace.run_plan(serial).status == workplace.run_plan(parallel).status == 0
    one, other = workplace.folders("serial"), workplace.folders("parallel")
    assert [folder.path.name for folder in one] == [folder.path.name for folder in other]
    assert list(map(without_seconds, one)) == list(map(without_seconds, other))


def test_a_drawn_seed_is_recorded(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(random_seed=-1)])
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    seed = read_json(folder.provenance)["seeds"]["random_seed"]
    again = workplace.write_plan("again", experiment=TOY, configurations=[toy(random_seed=seed)])
    workplace.run_plan(again)
    assert without_seconds(folder) == without_seconds(workplace.folders("again")[0])


def test_the_run_folder_tells_the_whole_truth(workplace: Workplace) -> None:
    base = toy(experiment_name="run_{lr}", lr=0.25, score_metric_name="test loss",
               score_largest=False)  # fmt: skip
    plan = workplace.write_plan(experiment=TOY, configurations=[base])
    workplace.run_plan(plan)
    (folder,) = workplace.folders()
    config = read_json(folder.config)
    assert config["lr"] == 0.25
    assert config["validate_every"] == 1  # a default, filled in
    status = read_json(folder.status)
    assert {"status", "attempt", "pid", "host", "device", "started", "ended"} <= set(status)
    rows = read_json_lines(folder.metrics)
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    summary = read_json(folder.summary)
    assert summary["score"] == rows[-1]["test loss"] == status["score"]
    assert summary["best"]["test loss"] == min(row["test loss"] for row in rows)
    assert {"commit", "versions", "seeds", "command"} <= set(read_json(folder.provenance))
    assert read_json(workplace.path / "outputs/exps/plan/plan.json") == json.loads(plan.read_text())


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_finite_weights(
    workplace: Workplace,
) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(nan_at=1)])
    assert workplace.run_plan(plan).status == 1
    (folder,) = workplace.folders()
    reason = folder.read_status()["reason"]
    assert "epoch 1, step 0: 'train loss' = nan" in reason
    state = torch.load(folder.checkpoints / "last.pt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_the_best_configuration_is_by_mean_score_over_seeds(workplace: Workplace) -> None:
    configuration = {
        "base_config": {"epochs": 5, "score_metric_name": "test loss", "score_largest": False},
        "options": {"lr": [0.001, 0.3]},
        "seeds": [0, 1],
    }
    plan = workplace.write_plan(experiment=TOY, largest=False, configurations=[configuration])
    out = workplace.run_plan(plan).out
    assert "best: exp (configurations[0], lr=0.3), mean test loss" in out
    assert "over 2 runs" in out
    plan = workplace.write_plan(experiment=TOY, configurations=[configuration])
    assert "best: exp (configurations[0], lr=0.3)" in workplace.run_plan(plan).out
    plan = workplace.write_plan(experiment=TOY, largest=True, configurations=[configuration])
    assert "best: exp (configurations[0], lr=0.001)" in workplace.run_plan(plan).out


def test_outputs_go_where_the_command_line_says(workplace: Workplace, tmp_path: Path) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    assert workplace.run_plan(plan, "--outputs_dir", "elsewhere").status == 0
    assert list((tmp_path / "elsewhere/plan").glob("exp-*"))


def test_save_logs(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    workplace.run_plan(plan, "--save_logs", "--log_dir", "logs", "--log_file_name_prefix", "toy")
    (log,) = (workplace.path / "logs").glob("toy_*.log")
    assert "exp: done" in log.read_text()
    assert "status  score" in log.read_text()


def test_the_log_file_holds_what_the_console_shows_and_no_more(workplace: Workplace) -> None:
    good = {**TINY_DIGITS, "epochs": 1}
    plan = workplace.write_plan(
        configurations=[{"base_config": good}], figures=["reward_std_vs_gradient"]
    )
    outcome = workplace.run_plan(plan, "--save_logs")
    (log,) = workplace.path.glob("plan_*.log")
    logged = re.split(r"^.{23} (?:INFO|WARNING|ERROR) ", log.read_text(), flags=re.MULTILINE)[1:]
    assert sorted("".join(logged).splitlines()) == sorted(
        line.removeprefix("warning: ") for line in (outcome.out + outcome.err).splitlines()
    )


def test_a_folder_of_logs_that_cannot_be_made(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    outcome = workplace.run_plan(plan, "--save_logs", "--log_dir", str(plan))
    assert (outcome.status, workplace.files()) == (2, [])
    assert "--log_dir" in outcome.err
    assert "cannot be made" in outcome.err


@pytest.mark.parametrize(
    ("is_built", "why"),
    [
        (True, "torch finds no GPU on this machine"),
        (False, "the installed torch is made for the CPU"),
    ],
)
@pytest.mark.parametrize(
    ("pool", "told"),
    [
        ([0, 1], "'gpu_ids_pool' = [0, 1]: {}"),
        ([], "configurations[0] and 1 more, 'gpu_ids' = [1]: {}"),
    ],
)
def test_gpus_on_a_machine_without_any_are_a_warning(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch,
    is_built: bool, why: str, pool: list[int], told: str,
) -> None:  # fmt: skip
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.cuda.is_built", lambda: is_built)
    plan = workplace.write_plan(
        experiment=TOY,
        gpu_ids_pool=pool,
        configurations=[{**toy(gpu_ids=[1], lr=lr), "seeds": [1, 2]} for lr in (1, 2)],
    )
    warning = told.format(f"{why}: the CPU computes; leave it out to do so without this warning")
    for flags in (["--dry_run"], []):
        outcome = workplace.run_plan(plan, *flags)
        assert outcome.status == 0
        assert outcome.err.count(warning) == outcome.err.count("the CPU computes") == 1
    assert workplace.folders()[0].read_status()["device"] == "cpu"
    assert "the CPU computes" not in workplace.run_plan(plan).err  # nothing is left to make


@pytest.mark.parametrize("flags", [["--dry_run"], []])
@pytest.mark.parametrize(
    ("count", "told"), [(2, "GPUs 0 to 1; choose among them"), (1, "GPU 0 alone; name it")]
)
def test_a_gpu_that_does_not_exist_is_refused(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch,
    flags: list[str], count: int, told: str,
) -> None:  # fmt: skip
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    own = workplace.write_plan(experiment=TOY, configurations=[toy(), toy(gpu_ids=[3], lr=2)])
    for more, key in [
        (["--gpu_ids", "0", "2"], "'gpu_ids_pool' = [0, 2]"),
        ([], "configurations[1]:\n  'gpu_ids' = [3]"),
    ]:
        outcome = workplace.run_plan(own, *more, *flags)
        assert outcome.status == 2
        assert f"{key}: this machine has {told}" in outcome.err
        assert workplace.files() == []


def test_a_broken_status_file_is_no_obstacle(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    workplace.run_plan(plan)
    (folder,) = workplace.folders()
    rows = without_seconds(folder)
    folder.status.write_text("")
    assert workplace.run_plan(plan, "--status").status == 0
    assert workplace.run_plan(plan).status == 0
    assert folder.read_status()["status"] == "done"
    assert without_seconds(folder) == rows


def test_a_folder_that_cannot_be_made_is_named(workplace: Workplace) -> None:
    (workplace.path / "file").touch()
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(outputs_dir="file/x")])
    outcome = workplace.run_plan(plan)
    assert outcome.status == 2
    assert "'outputs_dir': file/x/plan cannot be made" in outcome.err
