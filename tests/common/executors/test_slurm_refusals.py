"""Plans for a SLURM queue that are refused, and a SLURM that does not do as it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.process.stopping import StopFlag
from common.runner.scheduling.slurm import commands
from common.runner.scheduling.slurm.commands import UNLIMITED, Partition, SlurmError
from common.runner.scheduling.slurm.executor import SlurmQueue
from common.runner.tasks import task_of
from tests.common.executors.slurm_site import needs_slurm
from tests.common.plans import load, toy
from tests.conftest import TOY, Workplace

_LIMITS = {"short": Partition(60.0, 10.0), "long": Partition(1440.0, 1440.0)}


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A SLURM that would take every job, with two partitions."""
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("common.packages.is_installed", lambda module: True)
    for name, answer in {
        "partitions": _LIMITS, "default_partition": "short", "largest_array": 1000,
        "refusal": "", "queue": {},
    }.items():  # fmt: skip
        monkeypatch.setattr(commands, name, lambda *_, answer=answer: answer)
    return monkeypatch


def refused(workplace: Workplace, *flags: str, **keys: Any) -> str:
    """What the refusal of the plan says; nothing is written."""
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()], **keys)
    before = workplace.files()
    ended = workplace.run_plan(plan, *flags)
    assert (ended.status, workplace.files()) == (2, before), ended.err
    return ended.err


def test_a_machine_without_slurm_is_named(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    told = refused(workplace, "--executor", "slurm")
    assert "'executor' = 'slurm': needs SLURM's sbatch, squeue, scancel, scontrol, sinfo" in told
    assert "login node" in told


def test_a_missing_package_is_named(workplace: Workplace, pretended: pytest.MonkeyPatch) -> None:
    pretended.setattr("common.packages.is_installed", lambda module: module != "submitit")
    told = refused(workplace, "--executor", "slurm")
    assert "needs the package 'submitit': " in told
    assert "pip install submitit" in told


def test_a_slurm_that_does_not_answer_is_no_refusal_of_the_plan(
    workplace: Workplace, pretended: pytest.MonkeyPatch
) -> None:
    def silent() -> None:
        raise SlurmError("unable to contact the controller")

    pretended.setattr(commands, "partitions", silent)
    told = refused(workplace, "--executor", "slurm")
    assert "SLURM does not answer: unable to contact the controller" in told


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"partition": "gpu"},
            "'executor.partition' = 'gpu': the cluster has no such partition; it has short, long",
        ),
        ({"time_minutes": 61}, "'executor.time_minutes' = 61: partition 'short' allows at most 60"),
        (
            {"partition": "long", "time_minutes": 1441},
            "'executor.time_minutes' = 1441: partition 'long' allows at most 1440 minutes",
        ),
        (
            {"parameters": {"job_name": "x"}},
            "'executor.parameters.job_name' = 'x': is set by the program; take it out",
        ),
    ],
)
@pytest.mark.usefixtures("pretended")
def test_wrong_keys_are_named_before_anything_is_submitted(
    workplace: Workplace, keys: dict[str, Any], message: str
) -> None:
    assert message in refused(workplace, executor={"id": "slurm", **keys})


def test_what_sbatch_would_refuse_is_refused_with_the_needs(
    workplace: Workplace, pretended: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def refusal(flags: list[str]) -> str:
        asked.append(flags)
        return "Invalid account"

    pretended.setattr(commands, "refusal", refusal)
    pretended.setenv("OMP_NUM_THREADS", "2")
    told = refused(
        workplace,
        executor={"id": "slurm", "account": "mine", "constraint": "a100|h100",
                  "time_minutes": 30, "parameters": {"mail_type": "END"}},
        resources={"gpus": 2, "memory_gb": 1.5},
    )  # fmt: skip
    assert "SLURM would refuse a job with 2 CPUs, 2 GPUs, 1.5 GiB: Invalid account" in told
    assert asked == [
        ["--account=mine", "--constraint=a100|h100", "--gres=gpu:2", "--time=30",
         "--cpus-per-task=2", "--mem=1536M", "--requeue", "--mail-type=END"],
    ]  # fmt: skip


@pytest.mark.parametrize("gres", ["gpu", "gpu:1", "gpu:h100:1", "gpu:h100", "shard:4,gpu:1(S:0)"])
@pytest.mark.usefixtures("pretended")
def test_generic_resources_have_the_gpus_that_runs_need(workplace: Workplace, gres: str) -> None:
    keys = {"id": "slurm", "gres": gres}
    assert "no run uses a GPU" in refused(workplace, executor=keys)
    told = refused(workplace, executor=keys, resources={"gpus": 2})
    assert f"'executor.gres' = '{gres}': a run needs 2 GPUs" in told


@needs_slurm
def test_the_real_slurm_refuses_what_it_cannot_give(workplace: Workplace) -> None:
    assert "it has main" in refused(workplace, executor={"id": "slurm", "partition": "nix"})
    told = refused(workplace, executor="slurm", resources={"gpus": 3})
    assert "3 GPUs: allocation failure: Requested node configuration is not available" in told


def test_only_a_queue_can_be_left(workplace: Workplace) -> None:
    assert "--detach: needs runs in a queue" in refused(workplace, "--detach")


@pytest.mark.parametrize(
    ("told", "minutes"),
    [("infinite", UNLIMITED), ("UNLIMITED", UNLIMITED), ("1-02:00:00", 1560.0), ("30:00", 30.0),
     ("00:01:30", 1.5)],
)  # fmt: skip
def test_time_limits_are_read(told: str, minutes: float) -> None:
    assert commands._minutes(told) == minutes


def _queue(tmp_path: Path, pretended: pytest.MonkeyPatch, submit: Any) -> tuple[SlurmQueue, Any]:
    plan = load(tmp_path, {**toy(), "seeds": [1, 2, 3]}, executor="slurm")
    pretended.setattr("common.runner.scheduling.slurm.executor.submit", submit)
    pretended.setattr("common.runner.scheduling.slurm.executor._MOMENT", 0.0)
    return SlurmQueue(plan, StopFlag()), [
        task_of(plan, run, threads=1, use_gpus=False) for run in plan.runs
    ]


def test_jobs_that_slurm_does_not_take_yet_wait_until_others_have_ended(
    tmp_path: Path, pretended: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A limit on the number of a user's jobs; and a queue that cannot be asked ends no run."""
    taken: list[list[str]] = []
    room = [True, False]

    class Submitted:
        def __init__(self, names: list[str]) -> None:
            self.names = names
            self.name = names[0]

        def job_ids(self) -> list[str]:
            return self.names

        def close(self) -> None:
            """Nothing is to be removed."""

    def submit(plan: Any, groups: Any, needs: Any, most_at_once: Any) -> Submitted:
        if room and not room.pop(0):
            raise SlurmError("QOSMaxSubmitJobPerUserLimit")
        taken.append([tasks[0].folder for tasks in groups])
        return Submitted([str(len(taken))])

    pretended.setattr(commands, "largest_array", lambda: 1)
    queue, tasks = _queue(tmp_path, pretended, submit)
    for task in tasks:
        queue.start([task])
    pretended.setattr(commands, "queue", lambda: {"1": None})
    assert queue.wait() == []
    assert taken == [[tasks[0].folder]]
    assert "QOSMaxSubmitJobPerUserLimit" in caplog.text

    def silent() -> None:
        raise SlurmError("timed out")

    pretended.setattr("common.runner.scheduling.slurm.executor._SHORTEST_PAUSE", 0.0)
    pretended.setattr("common.runner.scheduling.slurm.executor._LONGEST_PAUSE", 0.0)
    queue._full_until = 0.0  # a minute later
    pretended.setattr(commands, "queue", silent)
    pretended.setattr(commands, "largest_array", silent)
    assert queue.wait() == []
    assert caplog.text.count("timed out") == 2
    pretended.setattr(commands, "largest_array", lambda: 1)

    pretended.setattr("common.runner.scheduling.slurm.executor.has_told", lambda *_: True)
    pretended.setattr(commands, "queue", dict)
    assert queue.wait() == [tasks[0]]
    pretended.setattr(commands, "queue", lambda: {"2": None, "3": None})
    assert queue.wait() == []
    assert taken == [[task.folder] for task in tasks]


def test_a_queue_that_takes_nothing_at_all_is_an_error(
    tmp_path: Path, pretended: pytest.MonkeyPatch
) -> None:
    def submit(*_: Any) -> None:
        raise SlurmError("Invalid qos")

    queue, tasks = _queue(tmp_path, pretended, submit)
    queue.start(tasks[:1])
    with pytest.raises(UserError, match="SLURM refuses the runs: Invalid qos"):
        queue.wait()
