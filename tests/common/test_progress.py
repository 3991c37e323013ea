"""Progress of a plan: lines in a log file, bars on a terminal."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.run.status import DONE, FAILED, WAITING
from common.runner import progress
from common.runner.progress import Display
from common.runner.run_state import RunState
from common.runner.scheduling import worker
from common.runner.scheduling.task import Task
from tests.conftest import TOY, Workplace


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def task(name: str) -> Task:
    return Task(name, {}, f"/{name}", "", None, "", {"disable_console_log": False}, "epoch", 1)


def run(name: str) -> Any:
    return SimpleNamespace(
        name=name, folder=Path("/") / name, config=SimpleNamespace(disable_console_log=False)
    )


def test_lines_tell_speed_score_and_time_left(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    display = Display("plan", [WAITING] * 4)
    display.progress([task("a")], 10, 100)  # resumed
    clock.now += 20
    display.progress([task("a")], 50, 100, "test loss 0.25, evaluating")
    clock.now += 1
    display.progress([task("a")], 51, 100, "too soon")
    display.ended(run("a"), RunState(DONE))
    clock.now += 21
    display.progress([task("b")], 0, 4)
    clock.now += 20
    display.progress([task("b")], 2, 4)
    display.ended(run("c"), RunState(FAILED, "it broke"))
    assert caplog.messages == [
        "a: epoch 50 of 100, 2 epochs per second, test loss 0.25, evaluating, about 00:25 left",
        # one run in 21 s, so that three take 63
        "a: done (1 done, 0 failed, 3 left, about 01:03 left)",
        "b: epoch 2 of 4, 10 seconds per epoch, about 00:20 left",
        # two runs and a half in 62 s, so that the rest of one and one more take 37
        "c: failed, it broke (1 done, 1 failed, 2 left, about 00:37 left)",
    ]


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, workplace: Workplace, **plan: Any) -> str:
    """What a plan shows on a terminal of 160 columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        workplace.run_plan(workplace.write_plan(**plan))
        monkeypatch.undo()
    shown = b""
    try:
        while part := os.read(master, 65536):
            shown += part
    except OSError:  # the end of a terminal that nobody writes to
        pass
    os.close(master)
    return shown.decode()


def test_a_terminal_has_bars_of_the_plan_and_of_its_runs(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_BARS", 0.0)
    keys = {"epochs": 8, "pause": 0.05, "score_metric_name": "test loss"}
    shown = on_a_terminal(
        monkeypatch, workplace, experiment=TOY,
        configurations=[
            {"base_config": keys, "options": {"lr": [0.1, 0.2]}},
            {"base_config": {**keys, "fail_at": 5}},
        ],
    )  # fmt: skip
    told = r"plan: +33%\|.+\| 1/3 runs \[.*1 done, 0 failed, 2 left, about \d\d:\d\d left\]"
    assert re.search(told, shown)
    assert "2 done, 1 failed, 0 left" in shown
    assert re.search(r"  exp: .+/8 \[.*(epoch/s|s/epoch), test loss \d", shown)


def test_workers_tell_no_more_than_what_can_be_seen_and_what_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, said = [100.0], []
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with Path(os.devnull).open() as nothing:
        parent = worker._Parent(nothing, nothing)
    monkeypatch.setattr(parent, "say", lambda message: said.append(message["progress"]))
    for step in range(100):
        parent.progress(step // 50, 9, ("sampling", "updating")[step % 2])
        now[0] += 0.01
    assert 4 <= len(said) <= 6
    now[0] += 0.3
    parent.progress(2, 9, "sampling")
    parent.progress(2, 9, "evaluating")
    parent._tell_if_due()
    assert said[-1][2] != "evaluating"
    now[0] += 0.3
    parent._tell_if_due()
    assert said[-1] == [2, 9, "evaluating"]
    parent.progress(9, 9)
    parent.tell()
    told = len(said)
    parent.tell()
    assert said[-1] == [9, 9, ""] and len(said) == told
