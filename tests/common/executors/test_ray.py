"""Runs as tasks of a Ray cluster: the contract, and what is Ray's alone."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from common.runner.scheduling.ray import on_node
from common.runner.scheduling.task import Task, to_line
from tests.common.executors.acting import MARK
from tests.common.executors.contract import ACTING, ExecutorContract, small_disk
from tests.common.executors.ray_site import PretendedCluster, needs_ray
from tests.common.executors.site import Site, num_rows, outcome, results, wait_for
from tests.common.plans import toy
from tests.conftest import TOY, Workplace
from tests.programs import Program
from tests.tools import needs_package

__all__ = ["small_disk"]

SEEING = "custom:tests.seeing:EXPERIMENT"
OTHER_RAY = "custom:tests.common.executors.other_ray:EXPERIMENT"
_EPOCHS = 60


@pytest.fixture(scope="module")
def cluster() -> Iterator[PretendedCluster]:
    cluster = PretendedCluster()
    yield cluster
    cluster.close()


class TestRay(ExecutorContract):
    pytestmark = needs_ray
    keys: ClassVar[dict[str, Any]] = {"executor": "ray"}

    @pytest.fixture(scope="class")
    @classmethod
    def environment(cls, cluster: PretendedCluster) -> dict[str, str]:
        return {"RAY_ADDRESS": cluster.address}


@pytest.fixture
def site(tmp_path: Path, cluster: PretendedCluster) -> Site:
    keys = {"executor": {"id": "ray", "address": cluster.address}}
    return Site(tmp_path, keys, {"CUDA_VISIBLE_DEVICES": "7"})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The results of a fit that nothing has disturbed, made on this machine."""
    site = Site(tmp_path_factory.mktemp("undisturbed"))
    plan = site.write_plan("whole", experiment=TOY, configurations=[toy(epochs=_EPOCHS)])
    assert site.run_plan(plan).status == 0
    (run,) = site.runs("whole").values()
    return results(run)


def slow_plan(site: Site, run: dict[str, Any], **keys: Any) -> Path:
    slow = toy(experiment_name="slow", epochs=_EPOCHS, **run)
    return site.write_plan("slow", experiment=TOY, configurations=[slow], **keys)


def start_slow(site: Site, **keys: Any) -> Program:
    """Starts a program whose run is under way until its gate is opened; it has two rows."""
    return started(site, slow_plan(site, {"gate": str(site.gate("slow"))}, **keys))


def started(site: Site, plan: Path) -> Program:
    """Starts a program, and waits until a run has two rows."""
    runner = site.start(plan)
    wait_for(lambda: any(num_rows(run) >= 2 for run in site.runs("slow").values()))
    return runner


def start_acting(site: Site, **keys: Any) -> tuple[Program, psutil.Process]:
    """Starts a program, and returns the process of its run once that does what its keys say."""
    acting = toy(experiment_name="run", **keys)
    plan = site.write_plan("acting", experiment=ACTING, configurations=[acting])
    runner = site.start(plan)
    wait_for(lambda: any((run.path / MARK).exists() for run in site.runs("acting").values()))
    return runner, process_of(site, "acting")


def process_of(site: Site, plan: str) -> psutil.Process:
    """The process that makes the only run of the plan."""
    (status,) = site.statuses(plan).values()
    return psutil.Process(status["pid"])


def overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two attempts were under way at the same time."""
    return bool(one["started"] < other["ended"] and other["started"] < one["ended"])


def is_gone(process: psutil.Process) -> bool:
    """Whether the process has ended, though nobody may have asked how."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("cluster")
class TestOnACluster:
    pytestmark = needs_ray

    def test_gpus_are_shared_or_whole_or_hidden(self, site: Site) -> None:
        half = {"gpus": 0.5, "custom": {"single": 0.5}}
        one = {"gpus": 1, "custom": {"double": 0.5}}
        runs = {
            "half_a": (half, {"size": 1, "beside": "half_b"}),
            "half_b": (half, {"size": 2, "beside": "half_a"}),
            "one_a": (one, {"size": 3, "beside": "one_b"}),
            "one_b": (one, {"size": 4, "beside": "one_a"}),
            "two": ({"gpus": 2}, {"size": 5}),
            "none": ({}, {"size": 6}),
        }
        plan = site.write_plan(
            "gpus", experiment=SEEING,
            configurations=[
                {"resources": resources, "base_config": {"experiment_name": name, **config}}
                for name, (resources, config) in runs.items()
            ],
        )  # fmt: skip
        done = site.run_plan(plan)
        assert done.status == 0, done.err
        seen = {name: json.loads((run.path / "seen.json").read_text())
                for name, run in site.runs("gpus").items()}  # fmt: skip
        found = {name: (run["visible"], tuple(run["devices"])) for name, run in seen.items()}
        assert {found.pop("one_a"), found.pop("one_b")} == {("0", (0,)), ("1", (0,))}
        assert found == {
            "half_a": ("0", (0,)), "half_b": ("0", (0,)), "two": ("0,1", (0, 1)), "none": ("", ()),
        }  # fmt: skip
        statuses = site.statuses("gpus")
        assert overlap(statuses["half_a"], statuses["half_b"])

    def test_what_no_node_can_meet_is_refused_with_the_nodes_totals(self, site: Site) -> None:
        plan = site.write_plan(
            "impossible", experiment=TOY,
            configurations=[
                {**toy(), "resources": {"gpus": 3}},
                {**toy(lr=0.2), "resources": {"custom": {"fast": 1}}},
                {**toy(lr=0.3), "resources": {"gpus": 1}},
            ],
        )  # fmt: skip
        refused = site.run_plan(plan)
        assert refused.status != 0
        assert "'resources' = {'gpus': 3.0}" in refused.err
        assert "a run that needs 1 CPU, 3 GPU; the nodes have in all: " in refused.err
        assert "a run that needs 1 CPU, 0 GPU, 1 fast; " in refused.err
        assert ": 2 CPU, 2 GPU" in refused.err
        assert "1 single" in refused.err
        assert "configurations[2]" not in refused.err
        assert not site.folder("impossible").exists()

    def test_a_lost_node_is_a_lost_attempt_and_a_late_node_goes_on(
        self, site: Site, cluster: PretendedCluster, undisturbed: Any
    ) -> None:
        doomed = cluster.add(num_cpus=1, resources={"place": 1})
        runner = start_slow(site, resources={"custom": {"place": 1}})
        process = process_of(site, "slow")
        cluster.lose(doomed)
        wait_for(lambda: site.statuses("slow")["slow"].get("lost") == 1)
        assert is_gone(process)
        waits = "slow needs 1 CPU, 0 GPU, 1 place and waits for a node"
        wait_for(lambda: waits in runner.heard())
        assert "its node was lost; it is continued" in runner.heard()
        site.gate("slow").touch()
        cluster.add(num_cpus=1, resources={"place": 1})
        done = outcome(runner)
        assert done.status == 0, done.err
        status = site.statuses("slow")["slow"]
        assert (status["status"], status["attempt"], status["lost"]) == ("done", 2, 1)
        assert results(site.runs("slow")["slow"]) == undisturbed

    def test_a_lost_ray_worker_is_a_lost_attempt(self, site: Site, undisturbed: Any) -> None:
        runner = start_slow(site)
        process = process_of(site, "slow")
        _server, _guard, worker, *_ = process.parents()
        assert "ray" in worker.name()
        worker.kill()
        wait_for(lambda: is_gone(process))
        site.gate("slow").touch()
        done = outcome(runner)
        assert done.status == 0, done.err
        status = site.statuses("slow")["slow"]
        assert (status["status"], status["attempt"], status["lost"]) == ("done", 2, 1)
        assert results(site.runs("slow")["slow"]) == undisturbed

    @pytest.mark.parametrize("act", ["", "hang in C"], ids=["works", "hangs_in_c"])
    def test_no_process_is_left_when_the_runner_is_killed(self, site: Site, act: str) -> None:
        runner, process = start_acting(
            site, act=act, epochs=_EPOCHS, gate=str(site.gate("acting"))
        )  # fmt: skip
        runner.kill()
        runner.communicate()
        wait_for(lambda: is_gone(process))
        assert site.statuses("acting")["run"]["status"] != "done"

    def test_a_second_ctrl_c_leaves_no_process(self, site: Site) -> None:
        runner, process = start_acting(site, act="hang")
        runner.send_signal(signal.SIGINT)
        wait_for(lambda: "stopping after the next checkpoint" in runner.heard())
        time.sleep(2)
        assert runner.poll() is None
        runner.send_signal(signal.SIGINT)
        stopped = outcome(runner)
        assert (stopped.status, "Traceback" in stopped.err) == (130, False)
        wait_for(lambda: is_gone(process))
        status = site.statuses("acting")["run"]
        assert (status["status"], status["reason"]) == ("interrupted", "stopped at once")
        assert status["lost"] == 0

    def test_runs_wait_for_each_other_if_few_may_be_made_at_once(self, site: Site) -> None:
        plan = site.write_plan(
            "few", experiment=SEEING, num_parallel=1,
            configurations=[{"base_config": {"experiment_name": "run_{size}", "pause": 0.5},
                             "options": {"size": [1, 2, 3]}}],
        )  # fmt: skip
        done = site.run_plan(plan)
        assert done.status == 0, done.err
        times = sorted((one["started"], one["ended"]) for one in site.statuses("few").values())
        assert all(ended <= begun for (_, ended), (begun, _) in pairwise(times))

    def test_a_cluster_of_another_version_is_refused(self, site: Site) -> None:
        plan = site.write_plan("other", experiment=OTHER_RAY, configurations=[toy()])
        refused = site.run_plan(plan)
        assert refused.status == 2
        assert "'executor.address'" in refused.err
        assert "Version mismatch" in refused.err and "0.0.1" in refused.err
        assert not site.folder("other").exists()


@pytest.mark.ray
@pytest.mark.slow
@needs_package("ray")
def test_a_lost_head_ends_the_program_and_another_cluster_goes_on(
    tmp_path: Path, undisturbed: Any
) -> None:
    def on(cluster: PretendedCluster) -> Site:
        return Site(tmp_path, {"executor": {"id": "ray", "address": cluster.address}})

    by_itself = {"pause": 0.1}  # ends what may go on
    first = PretendedCluster()
    try:
        runner = started(on(first), slow_plan(on(first), by_itself))
        making = process_of(on(first), "slow")
        first.lose_head()
        ended = outcome(runner)
        wait_for(lambda: is_gone(making))
    finally:
        first.close()
    assert ended.status == 1, ended.err
    second = PretendedCluster()
    try:
        site = on(second)
        assert site.run_plan(slow_plan(site, by_itself)).status == 0
    finally:
        second.close()
    assert results(site.runs("slow")["slow"]) == undisturbed


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "there is no Ray cluster at 127.0.0.1:1 (Connection refused)"),
        ("ray://127.0.0.1:1", "'ray://127.0.0.1:1' is no address such as 10.0.0.1:6379"),
        ("head", "'head' is no address such as 10.0.0.1:6379"),
    ],
)
@pytest.mark.ray
@needs_package("ray")
def test_an_address_without_a_cluster_is_told_at_once(
    workplace: Workplace, address: str, told: str
) -> None:
    plan = workplace.write_plan(
        experiment=TOY, configurations=[toy()], executor={"id": "ray", "address": address}
    )
    refused = workplace.run_plan(plan)
    assert refused.status != 0
    assert told in refused.err
    assert "executor.address" in refused.err
    assert workplace.files() == []


def test_a_machine_without_ray_is_told_how_to_install_it(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.packages.is_installed", lambda module: module != "ray")
    plan = workplace.write_plan(
        experiment=TOY, executor="ray", num_threads=1,
        configurations=[
            {**toy(), "resources": {"gpus": 1.5}},
            {**toy(), "experiment": ACTING, "resources": {"gpus": 0.5}, "gpus_per_run": 2},
            {**toy(lr=0.3), "resources": {"custom": {"GPU": 1}}},
        ],
    )  # fmt: skip
    refused = workplace.run_plan(plan)
    assert "pip install ray" in refused.err
    assert "Ray gives a share of one GPU, or whole ones" in refused.err
    assert "processes of one run cannot share a GPU" in refused.err
    assert "'resources.custom.GPU' = 1" in refused.err
    assert workplace.files() == []


def test_a_node_without_the_shared_file_system_says_so(tmp_path: Path) -> None:
    task = Task(
        name="run", identity={}, folder=str(tmp_path / "gone" / "run"), run="", run_together=None,
        config_model="", config={}, unit="epoch", threads=1,
    )  # fmt: skip
    before = Path.cwd(), dict(os.environ)
    report = on_node.make(to_line([task]), str(tmp_path), {"A": "1"})
    assert f"does not see {tmp_path / 'gone'}; all nodes" in report.refusal
    assert (Path.cwd(), dict(os.environ)) == before
