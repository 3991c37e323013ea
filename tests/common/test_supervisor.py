"""Whatever a run does to its process, the program ends as it is told, and its folders say so."""

from __future__ import annotations

import csv
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.common.executors.site import wait_for
from tests.common.plans import toy
from tests.common.test_endings import acting, ends
from tests.conftest import PROJECT, TOY, Workplace
from tests.hostile import children_left
from tests.programs import Program

WORKERS = {"multiprocess": True, "num_parallel": 2}
EITHER = pytest.mark.parametrize("scheduling", [{}, WORKERS])


def states(workplace: Workplace) -> dict[str, str]:
    """What the index says of the runs."""
    with (workplace.path / "outputs/exps/plan/index.csv").open() as file:
        return {row["name"]: row["status"] for row in csv.DictReader(file)}


def finished(process: Program) -> tuple[int, str]:
    """The exit status of the program, and what it has said on standard error."""
    err = process.communicate(timeout=600)[1]
    return process.returncode, err


def wait_for_file(workplace: Workplace, name: str) -> Path:
    pattern = f"outputs/exps/plan/*/{name}"
    wait_for(lambda: any(workplace.path.glob(pattern)))
    return next(workplace.path.glob(pattern))


@EITHER
def test_runs_that_end_their_process_fail_alone(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    plan = acting(workplace, "leaves", "", "faults", "no score", **scheduling)
    status, err = finished(workplace.start(plan))
    assert status == 1
    assert err.count("it is continued") == 2
    assert states(workplace) == {
        "leaves": "failed", "exp": "done", "faults": "failed", "noscore": "done"
    }  # fmt: skip
    found = ends(workplace)
    process = "worker process" if scheduling else "process"
    reasons = {name: found[name]["reason"] for name in ("leaves", "faults")}
    assert reasons == {
        "leaves": f"its {process} ended with exit status 0 (2 attempts)",
        "faults": f"its {process} was ended by SIGSEGV (2 attempts)",
    }
    attempts = {name: (end["attempt"], end["lost"]) for name, end in found.items()}
    assert attempts == {"exp": (1, 0), "noscore": (1, 0), "leaves": (2, 2), "faults": (2, 2)}
    assert finished(workplace.start(plan))[0] == 1
    assert [end["attempt"] for end in ends(workplace).values()].count(2) == 2


def test_a_run_whose_process_was_killed_goes_on_where_it_was(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(kill_at=1)])
    assert finished(workplace.start(plan))[0] == 0
    (folder,) = workplace.folders()
    found = folder.read_status()
    assert (found["status"], found["attempt"], found["lost"]) == ("done", 2, 1)
    log = folder.log.read_text()
    assert log.index("attempt 1 on cpu") < log.index("attempt 1 was lost") < log.index("attempt 2")


def test_what_a_lost_run_has_started_is_ended(workplace: Workplace) -> None:
    assert finished(workplace.start(acting(workplace, "killed", max_attempts=1)))[0] == 1
    assert children_left(workplace.folders()[0].path) == []


@EITHER
def test_what_runs_have_sent_into_the_background_is_ended(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    assert finished(workplace.start(acting(workplace, "daemon", **scheduling)))[0] == 0
    assert children_left(workplace.folders()[0].path) == []


@pytest.mark.parametrize("act", ["daemon", pytest.param("killed", marks=pytest.mark.slow)])
def test_processes_of_the_shell_whose_place_the_program_takes_go_on(
    workplace: Workplace, act: str
) -> None:
    plan = acting(workplace, act, max_attempts=1)
    script = (
        f"sleep 600 > /dev/null & echo $!; exec {shlex.join(map(str, workplace.command(plan)))}"
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=workplace.path, env=workplace.environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.returncode == (0 if act == "daemon" else 1)
    other = psutil.Process(int(done.stdout.split()[0]))
    assert other.status() != psutil.STATUS_ZOMBIE
    other.kill()
    assert children_left(workplace.folders()[0].path) == []


@EITHER
def test_a_copy_of_a_process_that_has_ended_does_not_hide_that(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    process = workplace.start(acting(workplace, "leaves a copy", "", **scheduling))
    status, err = finished(process)  # the copy goes on for longer than is waited here
    assert status == 1, err
    assert states(workplace) == {"leavesacopy": "failed", "exp": "done"}
    assert "exit status 3 (2 attempts)" in ends(workplace)["leavesacopy"]["reason"], err


@EITHER
def test_a_run_that_keeps_all_files_open_fails_alone(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    process = workplace.start(acting(workplace, "", "keeps files open", "no score", **scheduling))
    assert finished(process)[0] == 1
    assert states(workplace) == {"exp": "done", "keepsfilesopen": "failed", "noscore": "done"}
    assert "exit status 1 (2 attempts)" in ends(workplace)["keepsfilesopen"]["reason"]


def test_runs_take_no_task_from_their_worker_and_say_nothing_for_it(workplace: Workplace) -> None:
    """One worker makes them, as long as it can; each is followed by another run."""
    acts = ("closes input", "reads", "writes anywhere", "closes inputs", "sleeps", "closes all", "")
    long = "x" * 20_000  # so that no task is read at once
    plan = acting(workplace, *acts, hook=long, multiprocess=True, num_parallel=1)
    status, err = finished(workplace.start(plan))
    assert (status, "Traceback" in err) == (1, False), err
    found = states(workplace)
    assert found.pop("reads") == "failed"
    assert set(found.values()) == {"done"}
    assert "EOFError" in ends(workplace)["reads"]["reason"]
    assert {end["attempt"] for end in ends(workplace).values()} == {1}


def test_others_are_made_while_a_worker_cannot_be_heard(workplace: Workplace) -> None:
    acts = ("outlasts", "", "numpy number", "sleeps")
    assert finished(workplace.start(acting(workplace, *acts, **WORKERS)))[0] == 0
    assert {end["attempt"] for end in ends(workplace).values()} == {1}


@pytest.mark.slow
def test_options_hold_for_what_goes_on_after_a_loss(workplace: Workplace) -> None:
    """Once tried again is once, what was made anew stays, and a failure ends all if it is to."""
    plan = acting(workplace, "leaves", "exit", "")
    assert finished(workplace.start(plan))[0] == 1
    assert finished(workplace.start(plan, "--retry_failed"))[0] == 1
    assert {name: end["attempt"] for name, end in ends(workplace).items()} == {
        "leaves": 4, "exit": 2, "exp": 1
    }  # fmt: skip
    assert finished(workplace.start(plan, "--fresh", "--fail_fast"))[0] == 1
    assert states(workplace) == {"leaves": "failed", "exit": "waiting", "exp": "waiting"}
    assert ends(workplace)["leaves"]["attempt"] == 2
    assert len(list(workplace.path.glob("outputs/exps/plan/replaced/*"))) == 3


@pytest.mark.parametrize(
    ("act", "scheduling"),
    [("swallowing", {}), ("in C", {}), ("deaf", WORKERS)]
    + [pytest.param(*case, marks=pytest.mark.slow)
       for case in (("deaf", {}), ("swallowing", WORKERS), ("in C", WORKERS))],
)  # fmt: skip
def test_ctrl_c_gets_out_of_every_run(
    workplace: Workplace, act: str, scheduling: dict[str, Any]
) -> None:
    process = workplace.start(acting(workplace, act, "", **scheduling))
    wait_for_file(workplace, "begun")
    deadline = time.monotonic() + 300
    while process.poll() is None:  # not twice: of two that come at once, one may be heard
        assert time.monotonic() < deadline, "waited in vain"
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    status, err = finished(process)
    assert status == 130, err
    name = act.replace(" ", "")
    assert ends(workplace)[name]["status"] == "interrupted"
    assert ends(workplace)[name].get("lost") == 0
    assert states(workplace)[name] == "interrupted"


@EITHER
def test_a_lost_terminal_leaves_checkpoints(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    """The terminal of a session ends; its shell is gone, too."""
    plan = workplace.write_plan(
        experiment=TOY, configurations=[toy(epochs=10**6, pause=0.02)], **scheduling
    )
    leader, follower = os.openpty()
    heard = ["env", "--default-signal=HUP"]  # also if the tests' own terminal may close
    process = subprocess.Popen(
        [*heard, "setsid", "--ctty", "--wait", *map(str, workplace.command(plan))],
        cwd=workplace.path, env=workplace.environment(),
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    wait_for_file(workplace, "metrics.jsonl")
    os.close(leader)
    assert process.wait(timeout=300) == 129
    found = workplace.folders()[0].read_status()
    assert (found["status"], found["lost"]) == ("interrupted", 0)
    assert (workplace.folders()[0].checkpoints / "last.pt").exists()
    assert set(states(workplace).values()) == {"interrupted"}


@pytest.mark.parametrize(
    ("act", "scheduling"), [("deaf", {}), ("deaf", WORKERS), ("in C", WORKERS)]
)
def test_nothing_outlives_a_program_that_is_killed(
    workplace: Workplace, act: str, scheduling: dict[str, Any]
) -> None:
    process = workplace.start(acting(workplace, act, **scheduling))
    wait_for_file(workplace, "begun")
    others = psutil.Process(process.pid).children(recursive=True)
    # The work; and, of a run in a worker, that, the server that made it, and the server's guard.
    assert len(others) == (4 if scheduling else 1)
    process.kill()
    process.communicate()
    left = psutil.wait_procs(others, timeout=300)[1]
    for other in left:
        other.kill()
    assert left == []


def test_ctrl_z_stops_the_work_and_it_goes_on(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(epochs=10**6, pause=0.02)])
    process = workplace.start(plan)
    metrics = wait_for_file(workplace, "metrics.jsonl")
    process.send_signal(signal.SIGTSTP)
    supervisor = psutil.Process(process.pid)
    (work,) = supervisor.children()
    for one in (work, supervisor):
        wait_for(lambda one=one: one.status() == psutil.STATUS_STOPPED)
    size = metrics.stat().st_size
    time.sleep(0.3)
    assert metrics.stat().st_size == size
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: metrics.stat().st_size > size)
    process.send_signal(signal.SIGINT)
    assert finished(process)[0] == 130


_LATE = """
import os, signal, sys
from common.process import supervisor

leave = supervisor._leave

def leave_late(code):
    os.kill = lambda *killed: print("killed", killed, flush=True)
    signal.raise_signal(signal.SIGINT)
    leave(code)

supervisor._leave = leave_late
supervisor.supervise(lambda *_: None)
os._exit(7)
"""


def test_a_request_that_comes_too_late_reaches_no_other_process() -> None:
    done = subprocess.run([sys.executable, "-c", _LATE], cwd=PROJECT, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (7, b"")


@pytest.mark.slow
@EITHER
def test_loud_runs_and_runs_without_memory_end_as_what_they_are(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    process = workplace.start(acting(workplace, "loud", "out of memory", "", **scheduling))
    assert finished(process)[0] == 1
    assert states(workplace) == {"loud": "done", "outofmemory": "failed", "exp": "done"}
    assert "MemoryError" in ends(workplace)["outofmemory"]["reason"]
