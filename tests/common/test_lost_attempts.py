"""Attempts that are lost are counted; the last one that a run may have fails it."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.process.endings import how_it_ended
from common.run import status
from common.run.folder import RunFolder
from common.runner.scheduling.lost_attempts import record_loss
from common.runner.scheduling.task import Task

IDENTITY = {"fingerprint": "f"}


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(
        name="run", identity=IDENTITY, folder=str(tmp_path / "run"), run="", run_together=None,
        config_model="", config={}, unit="epoch", threads=1, max_attempts=2,
    )  # fmt: skip


def folder_of(task: Task) -> RunFolder:
    return RunFolder(Path(task.folder))


def begin(task: Task, num_together: int = 1) -> None:
    status.begin(folder_of(task), task.identity, "cpu", 1, num_together=num_together)


def found(task: Task) -> tuple[Any, ...]:
    record = folder_of(task).read_status()
    return record["status"], record["attempt"], record["lost"], record["reason"]


def test_the_last_lost_attempt_fails_the_run(task: Task) -> None:
    begin(task)
    record_loss([task], "it died")
    assert found(task) == ("interrupted", 1, 1, "it died")
    begin(task)
    record_loss([task], "it died again")
    assert found(task) == ("failed", 2, 2, "it died again (2 attempts)")
    log = folder_of(task).log.read_text().splitlines()
    assert [line.partition("attempt")[2] for line in log] == [
        " 1 was lost: it died", " 2 was lost: it died again",
    ]  # fmt: skip


def test_an_attempt_that_ended_before_it_began_counts(task: Task) -> None:
    for lost, state in ((1, "interrupted"), (2, "failed")):
        record_loss([task], "it died")
        assert found(task)[:3] == (state, lost, lost)
    assert folder_of(task).read_status()["fingerprint"] == "f"


def test_a_run_that_is_to_be_made_again_has_all_its_attempts(task: Task) -> None:
    begin(task)
    record_loss([replace(task, max_attempts=1)], "it died")
    status.wait_again(folder_of(task), 0)
    assert folder_of(task).read_status()["status"] == "failed"  # of another attempt
    status.wait_again(folder_of(task), 1)
    assert folder_of(task).read_status()["status"] == "waiting"
    record_loss([task], "it died")
    assert found(task) == ("interrupted", 2, 1, "it died")


@pytest.mark.parametrize("state", ["done", "failed"])
def test_an_end_that_is_on_record_stays(task: Task, state: str) -> None:
    begin(task)
    status.end(folder_of(task), state, reason="itself")
    record_loss([task], "it died")
    assert found(task) == (state, 1, 0, "itself")


def test_a_failure_that_came_of_another_rank_is_a_loss(task: Task) -> None:
    begin(task)
    status.end(folder_of(task), "failed", reason="the connection was lost")
    record_loss([task], "rank 1: it died", of_another_rank=True)
    assert found(task) == ("interrupted", 1, 1, "rank 1: it died")


def test_an_attempt_that_runs_shared_fails_none_of_them(task: Task) -> None:
    tasks = [replace(task, folder=f"{task.folder}{number}", max_attempts=1) for number in (1, 2)]
    for one in tasks:
        begin(one, num_together=2)
    record_loss(tasks, "it died")
    assert [found(one)[:3] for one in tasks] == [("interrupted", 1, 1)] * 2
    begin(tasks[0])
    record_loss(tasks[:1], "it died")
    assert found(tasks[0]) == ("failed", 2, 2, "it died (2 attempts)")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (3, "its worker process ended with exit status 3"),
        (-signal.SIGSEGV, "its worker process was ended by SIGSEGV"),
        (-signal.SIGKILL, "its worker process was ended by SIGKILL (out of memory?)"),
        (-35, "its worker process was ended by signal 35"),
    ],
)
def test_how_a_process_ended(code: int, told: str) -> None:
    assert how_it_ended(code) == told
