"""The contract of executors: what becomes of runs, whoever makes them.

A subclass names the keys of plans whose runs its executor makes; see ``test_contract.py``.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.common.executors.site import Site, num_rows, outcome, results, wait_for
from tests.common.plans import toy
from tests.conftest import Outcome
from tests.small_disks import small_disk

ACTING = "custom:tests.common.executors.acting:EXPERIMENT"
_SLOW: dict[str, Any] = {"epochs": 30, "pause": 0.1}
_FAST: dict[str, Any] = {"epochs": 30}

__all__ = ["ExecutorContract", "small_disk"]


class ExecutorContract:
    """What is true of every executor; programs are started, and their folders looked at."""

    keys: ClassVar[dict[str, Any]] = {}
    """Keys of a plan that choose the executor."""

    @pytest.fixture(scope="class")
    @classmethod
    def environment(cls) -> Iterator[dict[str, str]]:
        """Variables of the program's environment; what the executor needs runs meanwhile."""
        yield {}

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Site:
        return Site(tmp_path_factory.mktemp("site"), cls.keys, environment)

    @pytest.fixture(scope="class")
    @classmethod
    def ends(cls, site: Site) -> Outcome:
        """A plan whose runs end in every way."""
        plan = site.write_plan(
            "ends",
            experiment=ACTING,
            configurations=[
                toy(experiment_name="good"),
                {"id": "bad", **toy(experiment_name="bad", fail_at=1)},
                toy(experiment_name="after_bad", start="@bad.checkpoint"),
                toy(experiment_name="killed", kill_at=2),
                toy(experiment_name="exits", act="exit"),
            ],
        )
        return site.run_plan(plan)

    def test_a_run_is_made(self, site: Site, ends: Outcome) -> None:
        run = site.runs("ends")["good"]
        assert num_rows(run) == 3
        assert (run.read_status()["status"], run.read_status()["attempt"]) == ("done", 1)

    def test_one_failure_leaves_the_others_done(self, site: Site, ends: Outcome) -> None:
        found = site.statuses("ends")
        assert found["bad"]["status"] == "failed"
        assert "ZeroDivisionError: as the plan says" in found["bad"]["reason"]
        assert found["bad"]["attempt"] == 1
        assert found["after_bad"]["status"] == "skipped"

    def test_a_run_goes_on_when_its_process_was_killed(self, site: Site, ends: Outcome) -> None:
        run = site.runs("ends")["killed"]
        assert (run.read_status()["status"], run.read_status()["attempt"]) == ("done", 2)
        assert results(run) == results(site.runs("ends")["good"])

    def test_a_run_whose_process_ends_each_time_has_failed(self, site: Site, ends: Outcome) -> None:
        found = site.statuses("ends")["exits"]
        assert (found["status"], found["attempt"], found["lost"]) == ("failed", 2, 2)
        assert "exit status 3 (2 attempts)" in found["reason"]

    @pytest.mark.slow
    def test_a_run_that_hangs_is_ended_at_its_time_limit(self, site: Site) -> None:
        configurations = [
            {**toy(experiment_name="hangs", act="hang"), "timeout_minutes": 0.1},
            toy(experiment_name="good"),
        ]
        plan = site.write_plan("hangs", experiment=ACTING, configurations=configurations)
        ended = site.run_plan(plan)
        assert ended.status == 1, ended.err
        assert site.index("hangs") == {"hangs": "failed", "good": "done"}
        found = site.statuses("hangs")["hangs"]
        assert (found["status"], found["attempt"], found["lost"]) == ("failed", 2, 2)
        assert "(2 attempts)" in found["reason"]
        assert "timeout_minutes" in found["reason"]

    def test_the_exit_status_and_the_index_tell_of_every_run(
        self, site: Site, ends: Outcome
    ) -> None:
        assert ends.status == 1, ends.err
        assert "Traceback" not in ends.err + ends.out
        told = {name: status["status"] for name, status in site.statuses("ends").items()}
        assert told == site.index("ends")
        assert site.unfinished("ends") == []

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, site: Site) -> Site:
        """The results of undisturbed runs, in the plan ``whole``."""
        plan = site.write_plan("whole", experiment=ACTING, configurations=_three(_FAST))
        assert site.run_plan(plan).status == 0
        return site

    @pytest.mark.slow
    def test_a_killed_runner_is_started_again_and_goes_on(self, whole: Site) -> None:
        plan = whole.write_plan("killed", experiment=ACTING, configurations=_three(_SLOW))
        for rows in (2, 12):
            runner = whole.start(plan)
            _wait_for_rows(whole, "killed", rows)
            runner.kill()
            runner.communicate()
        again = whole.run_plan(plan)
        _assert_done_as_whole(whole, "killed", again)

    @pytest.mark.slow
    def test_a_plan_that_is_started_twice_makes_each_run_once(self, whole: Site) -> None:
        plan = whole.write_plan("twice", experiment=ACTING, configurations=_three(_SLOW))
        runners = [whole.start(plan) for _ in range(2)]
        ended = [outcome(runner) for runner in runners]
        for each in ended:
            _assert_done_as_whole(whole, "twice", each)
        attempts = {name: run["attempt"] for name, run in whole.statuses("twice").items()}
        assert attempts == dict.fromkeys(attempts, 1)

    @pytest.mark.slow
    def test_ctrl_c_ends_with_checkpoints_from_which_runs_go_on(self, whole: Site) -> None:
        held = {**_FAST, "gate": str(whole.gate("cancelled"))}
        plan = whole.write_plan("cancelled", experiment=ACTING, configurations=_three(held))
        runner = whole.start(plan)
        _wait_for_rows(whole, "cancelled", 2)
        runner.send_signal(signal.SIGINT)
        stopped = outcome(runner)
        assert stopped.status == 130, stopped.err
        told = {status["status"] for status in whole.statuses("cancelled").values()}
        assert told == {"interrupted"}
        assert set(whole.index("cancelled").values()) <= {"interrupted", "waiting"}
        whole.gate("cancelled").touch()
        _assert_done_as_whole(whole, "cancelled", whole.run_plan(plan))

    @pytest.mark.slow
    def test_a_full_disk_stops_the_plan_and_is_gone_on_from(
        self, site: Site, small_disk: Path
    ) -> None:
        large = toy(outputs_dir=str(small_disk), epochs=1500)
        plan = site.write_plan("full", experiment=ACTING, configurations=[large])
        filler = small_disk / "filler"
        filler.write_bytes(bytes(2**20 - 2**17))
        stopped = site.run_plan(plan)
        assert stopped.status == 1, stopped.err
        assert "does not fit" in stopped.err
        assert "Traceback" not in stopped.err
        filler.unlink()
        assert site.run_plan(plan).status == 0

    def test_a_run_of_two_processes_has_both(self, site: Site) -> None:
        plan = site.write_plan(
            "shared", experiment=ACTING, configurations=[toy(experiment_name="two")], gpus_per_run=2
        )
        done = site.run_plan(plan)
        assert done.status == 0, done.err
        status = site.statuses("shared")["two"]
        assert (status["score"], status["attempt"]) == (2.0, 1)
        self.check_gpus((site.runs("shared")["two"].path / "gpus.txt").read_text().split("\n"))

    def check_gpus(self, seen: list[str]) -> None:
        """Looks at the GPUs that each of two processes saw; without GPUs there are none."""
        assert seen == ["", ""]


def _three(keys: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**toy(experiment_name="run_{random_seed}", **keys), "seeds": [1, 2, 3]}]


def _wait_for_rows(site: Site, plan: str, rows: int) -> None:
    wait_for(lambda: any(num_rows(run) >= rows for run in site.runs(plan).values()))


def _assert_done_as_whole(site: Site, plan: str, ended: Outcome) -> None:
    assert ended.status == 0, ended.err
    assert set(site.index(plan).values()) == {"done"}
    for name, run in site.runs(plan).items():
        assert results(run) == results(site.runs("whole")[name])
    assert site.unfinished(plan) == []
