"""Runs in a SLURM queue: the contract, and what is SLURM's alone."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.common.executors.contract import ACTING, ExecutorContract, small_disk
from tests.common.executors.site import outcome, results, wait_for
from tests.common.executors.slurm_site import SlurmSite, ask, needs_slurm
from tests.common.plans import toy
from tests.conftest import TOY

__all__ = ["small_disk"]

SEEING = "custom:tests.seeing:EXPERIMENT"
_LATER = {"parameters": {"begin": "now+1hour"}}
"""Keeps jobs waiting in the queue."""


@needs_slurm
@pytest.mark.slow
class TestSlurm(ExecutorContract):
    keys: ClassVar[dict[str, Any]] = {"executor": "slurm"}


@pytest.fixture
def site(tmp_path: Path) -> SlurmSite:
    return SlurmSite(tmp_path, {"experiment": TOY})


def held(site: SlurmSite, plan: str) -> dict[str, Any]:
    """Keys of runs that are under way until the test opens the plan's gate, or stops them."""
    return {"epochs": 30, "gate": str(site.gate(plan))}


def executor(**keys: Any) -> dict[str, Any]:
    return {"id": "slurm", **keys}


def script(site: SlurmSite, plan: str) -> str:
    """The script of the only submission, once it is made."""
    place, found = site.folder(plan) / "slurm", "*/*_submission.sh"
    wait_for(lambda: any(place.glob(found)))
    (path,) = place.glob(found)
    return path.read_text()


@needs_slurm
@pytest.mark.slow
def test_detached_commands_make_one_stage_after_the_other(site: SlurmSite) -> None:
    first = {"id": "a", **toy(experiment_name="a_{random_seed}"), "seeds": [1, 2]}
    second = toy(experiment_name="b", start="@a.checkpoint", random_seed=1)
    plan = site.write_plan(
        "stages", executor="slurm", configurations=[first, second], num_parallel=2
    )
    left = site.run_plan(plan, "--detach")
    assert (left.status, left.out.count("\n")) == (0, 1)
    assert "2 runs are in the queue" in left.out
    assert "#SBATCH --array=0-1%2" in script(site, "stages")
    site.wait_until_gone("stages")
    left = site.run_plan(plan, "--detach")
    assert (left.status, "1 run is in the queue" in left.out) == (0, True)
    site.wait_until_gone("stages")
    done = site.run_plan(plan, "--detach")
    assert (done.status, set(site.index("stages").values())) == (0, {"done"})
    assert {status["attempt"] for status in site.statuses("stages").values()} == {1}
    assert list((site.folder("stages") / "slurm").iterdir()) == []


@needs_slurm
@pytest.mark.slow
def test_signals_of_the_cluster_mean_a_checkpoint_and_a_new_place_in_the_queue(
    site: SlurmSite,
) -> None:
    whole = site.write_plan("whole", configurations=[toy(experiment_name="whole", epochs=30)])
    assert site.run_plan(whole).status == 0
    for number in ("USR1", "TERM"):
        slow = toy(experiment_name="run", **held(site, number))
        plan = site.write_plan(number, executor="slurm", configurations=[slow])
        runner = site.start(plan)
        site.wait_for_rows(number, "run")
        job = site.job_of(number, "run")
        ask("scancel", f"--signal={number}", job)
        wait_for(lambda of=number: site.statuses(of)["run"]["status"] == "interrupted")
        site.gate(number).touch()
        done = site.outcome_in_a_hurry(runner, number)
        assert done.status == 0, done.err
        status = site.statuses(number)["run"]
        assert (status["attempt"], status["lost"], status["job"]) == (2, 0, f"SLURM job {job}")
        assert results(site.runs(number)["run"]) == results(site.runs("whole")["whole"])


@needs_slurm
@pytest.mark.slow
def test_a_run_outlasts_the_time_limit_of_its_job(site: SlurmSite) -> None:
    runs = [
        toy(experiment_name=name, pause=pause, epochs=50, random_seed=1)
        for name, pause in (("quick", 0.0), ("long", 1.0))
    ]
    plan = site.write_plan("limit", executor=executor(time_minutes=1), configurations=runs)
    runner = site.start(plan)
    assert "--signal=USR2@12" in script(site, "limit")
    done = site.outcome_in_a_hurry(runner, "limit")
    assert done.status == 0, done.err
    status = site.statuses("limit")["long"]
    assert status["attempt"] >= 2  # SLURM's signal may come a minute earlier than it is asked for
    assert status["lost"] == 0
    assert results(site.runs("limit")["long"]) == results(site.runs("limit")["quick"])


@needs_slurm
@pytest.mark.slow
def test_a_cancelled_job_is_not_put_into_the_queue_again(site: SlurmSite) -> None:
    slow = {**toy(experiment_name="run_{random_seed}", **held(site, "gone")), "seeds": [1, 2]}
    plan = site.write_plan("gone", executor="slurm", num_parallel=1, configurations=[slow])
    runner = site.start(plan)
    site.wait_for_rows("gone", "run_1")
    jobs = sorted(site.jobs("gone"))
    assert len(jobs) == 2
    ask("scancel", jobs[1])
    ask("scancel", jobs[0])
    ended = outcome(runner)
    assert ended.status == 1
    told = {name: (status["status"], status["reason"])
            for name, status in site.statuses("gone").items()}  # fmt: skip
    assert told == {
        f"run_{seed}": ("interrupted", f"SLURM job {job} was cancelled")
        for seed, job in zip((1, 2), jobs, strict=True)
    }
    assert site.jobs("gone") == {}
    site.gate("gone").touch()
    again = site.run_plan(plan)
    assert again.status == 0, again.err
    assert {name: status["attempt"] for name, status in site.statuses("gone").items()} == {
        "run_1": 2, "run_2": 1,
    }  # fmt: skip


@needs_slurm
@pytest.mark.slow
def test_a_killed_runner_finds_its_jobs_and_starts_none_twice(site: SlurmSite) -> None:
    slow = {**toy(experiment_name="run_{random_seed}", epochs=30, pause=0.2), "seeds": [1, 2]}
    plan = site.write_plan("found", executor="slurm", num_parallel=1, configurations=[slow])
    runner = site.start(plan)
    site.wait_for_rows("found", "run_1")
    runner.kill()
    runner.communicate()
    done = site.run_plan(plan)
    assert done.status == 0, done.err
    assert "in the SLURM queue as" not in done.err
    assert {status["attempt"] for status in site.statuses("found").values()} == {1}


@needs_slurm
@pytest.mark.slow
def test_two_runners_share_the_jobs_of_a_plan(site: SlurmSite) -> None:
    first = {"id": "a", **toy(experiment_name="a_{random_seed}"), "seeds": [1, 2]}
    second = toy(experiment_name="b", start="@a.checkpoint", random_seed=1)
    plan = site.write_plan("shared", executor="slurm", configurations=[first, second])
    runners = [site.start(plan), site.start(plan)]
    told = [outcome(runner) for runner in runners]
    assert [each.status for each in told] == [0, 0], told
    assert {status["attempt"] for status in site.statuses("shared").values()} == {1}
    assert set(site.index("shared").values()) == {"done"}


@needs_slurm
@pytest.mark.slow
def test_jobs_whose_number_was_not_recorded_are_found_by_their_name(site: SlurmSite) -> None:
    two = {**toy(experiment_name="run_{random_seed}"), "seeds": [1, 2]}
    plan = site.write_plan("name", executor=executor(**_LATER), configurations=[two])
    assert site.run_plan(plan, "--detach").status == 0
    jobs = site.jobs("name")
    assert set(jobs.values()) == {"PENDING"}
    (record,) = (site.folder("name") / "slurm").glob("*/submission.json")
    without = {key: value for key, value in json.loads(record.read_text()).items() if key == "runs"}
    record.write_text(json.dumps(without))
    os.utime(record, (0, 0))  # long ago: no sbatch is on its way any more
    assert "2 runs are in the queue" in site.run_plan(plan, "--detach").out
    assert site.jobs("name") == jobs

    shown = site.run_plan(plan, "--status").out
    assert all(f"SLURM job {job}: PENDING" in shown for job in jobs)
    assert "2 queued" in shown

    without_function = max(jobs)
    (record.parent / f"{without_function}_submitted.pkl").unlink()
    assert "2 runs are in the queue" in site.run_plan(plan, "--detach").out
    now = site.jobs("name")
    assert (len(now), without_function in now, min(jobs) in now) == (2, False, True)
    ask("scancel", *now)
    site.wait_until_gone("name")
    assert "2 runs are in the queue" in site.run_plan(plan, "--detach").out
    assert now.keys().isdisjoint(site.jobs("name"))
    ask("scancel", *site.jobs("name"))


@needs_slurm
@pytest.mark.slow
def test_a_second_ctrl_c_cancels_what_does_not_stop(site: SlurmSite) -> None:
    runs = [
        toy(experiment_name="hang", act="hang"),
        toy(experiment_name="waits"),
    ]
    plan = site.write_plan(
        "stop", experiment=ACTING, executor="slurm", num_parallel=1, configurations=runs
    )
    runner = site.start(plan)
    site.wait_for_rows("stop", "hang", rows=1)
    runner.send_signal(signal.SIGINT)
    wait_for(lambda: len(site.jobs("stop")) == 1)  # what waited is cancelled
    time.sleep(1)
    assert runner.poll() is None
    runner.send_signal(signal.SIGINT)
    assert outcome(runner).status == 130
    site.wait_until_gone("stop")
    assert "waits" not in site.runs("stop")


@needs_slurm
@pytest.mark.slow
def test_a_lost_terminal_leaves_the_jobs_alone(site: SlurmSite) -> None:
    slow = toy(experiment_name="run", **held(site, "terminal"))
    plan = site.write_plan("terminal", executor="slurm", configurations=[slow])
    runner = site.start(plan)
    site.wait_for_rows("terminal", "run")
    runner.send_signal(signal.SIGHUP)
    assert outcome(runner).status == 129
    assert len(site.jobs("terminal")) == 1
    site.gate("terminal").touch()
    assert site.run_plan(plan).status == 0
    assert site.statuses("terminal")["run"]["attempt"] == 1


@needs_slurm
@pytest.mark.slow
def test_jobs_that_end_without_a_word_are_lost_attempts(site: SlurmSite) -> None:
    slow = toy(experiment_name="run", **held(site, "lost"))
    plan = site.write_plan("lost", executor="slurm", configurations=[slow])
    runner = site.start(plan)
    site.wait_for_rows("lost", "run")
    for process in site.processes("lost"):
        process.kill()
    wait_for(lambda: site.statuses("lost")["run"].get("lost") == 1)
    site.gate("lost").touch()
    done = outcome(runner)
    assert done.status == 0, done.err
    assert "without a word" in done.err
    status = site.statuses("lost")["run"]
    assert (status["attempt"], status["lost"]) == (2, 1)


@needs_slurm
@pytest.mark.slow
def test_a_job_that_slurm_takes_away_at_once_is_no_lost_attempt(site: SlurmSite) -> None:
    hang = toy(experiment_name="run", act="hang")  # it writes no checkpoint when it is asked to
    plan = site.write_plan("away", experiment=ACTING, executor="slurm", configurations=[hang])
    assert site.run_plan(plan, "--detach").status == 0
    site.wait_for_rows("away", "run", rows=1)
    (job,) = site.jobs("away")
    ask("scontrol", "requeue", job)

    def is_made_again() -> bool:
        site.hurry("away")
        return site.statuses("away")["run"]["attempt"] == 2

    wait_for(is_made_again)
    assert site.statuses("away")["run"]["lost"] == 0
    ask("scancel", job)


@needs_slurm
@pytest.mark.slow
def test_a_job_that_ends_before_its_run_tells_why(site: SlurmSite) -> None:
    keys = executor(setup=["echo 'no module cuda' >&2", "exit 3"])
    plan = site.write_plan("setup", executor=keys, configurations=[toy(experiment_name="run")])
    ended = site.run_plan(plan)
    assert ended.status == 1
    status = site.statuses("setup")["run"]
    assert (status["status"], status["lost"]) == ("failed", 2)
    assert status["reason"].endswith("before the run began: no module cuda (2 attempts)")


@needs_slurm
@pytest.mark.slow
def test_a_run_gets_the_gpus_and_cores_that_it_asks_for(site: SlurmSite) -> None:
    two = {"base_config": {"experiment_name": "two"}, "resources": {"gpus": 2, "cpus": 2}}
    one = {"base_config": {"experiment_name": "one", "size": 1, "gpu_ids": [5]}}
    none = {"base_config": {"experiment_name": "none", "size": 2}}
    plan = site.write_plan(
        "gpus", experiment=SEEING, executor="slurm", configurations=[two, one, none]
    )
    done = site.run_plan(plan)
    assert done.status == 0, done.err
    seen = {name: json.loads((run.path / "seen.json").read_text())
            for name, run in site.runs("gpus").items()}  # fmt: skip
    assert (seen["two"]["visible"], seen["two"]["devices"]) == ("0,1", [0, 1])
    assert (seen["one"]["visible"] in ("0", "1"), seen["one"]["devices"]) == (True, [0])
    assert (seen["none"]["visible"], seen["none"]["devices"]) == ("", [])
    threads = {name: status["threads"] for name, status in site.statuses("gpus").items()}
    assert threads == {"two": 1, "one": 1, "none": 1}  # of OMP_NUM_THREADS
    assert done.err.count("in the SLURM queue as") == 3  # equal needs make an array
