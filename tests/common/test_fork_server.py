"""Workers from a fork server: as those from fresh processes, but at once."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from common.machine.devices import VISIBLE
from common.run.folder import RunFolder, read_json_lines
from common.runner.scheduling.fork_server import ForkedProcess, ForkServer
from common.runner.scheduling.local_workers import LocalWorkers
from common.runner.scheduling.task import Task
from common.runner.scheduling.worker_group import WorkerGroup
from common.runner.scheduling.worker_process import WorkerProcess, worker_environment
from tests.conftest import PROJECT, TINY_DIGITS, Workplace
from tests.few_files import full_but_for
from tests.hostile import goes_on

pytestmark = pytest.mark.skipif(not ForkServer.is_possible(), reason="needs Linux 5.3")


def environment(gpu_ids: Sequence[int] = (), threads: int = 1) -> dict[str, str]:
    """A worker's environment, without what pytest changes all the time."""
    found = worker_environment(gpu_ids, threads)
    return {key: value for key, value in found.items() if key != "PYTEST_CURRENT_TEST"}


@pytest.fixture(autouse=True)
def _environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("worker_process", "local_workers"):
        path = f"common.runner.scheduling.{module}.worker_environment"
        monkeypatch.setattr(path, environment)


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer(environment(), ["torch"])
    yield server
    server.close()


@pytest.fixture
def worker(server: ForkServer) -> Iterator[WorkerProcess]:
    worker = WorkerProcess((), 1, server)
    assert isinstance(worker.process, ForkedProcess)
    yield worker
    worker.close()


_ECHO = f"""
import os
from common.runner.scheduling import worker

def main():
    print(os.environ["{VISIBLE}"], input(), end="")
    return 7

worker.main = main
"""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def server_of(worker: WorkerProcess) -> psutil.Process:
    """The process that has made the worker."""
    return psutil.Process(psutil.Process(worker.process.pid).ppid())


def test_a_worker_has_loaded_torch_and_its_own_session_and_gpus(server: ForkServer) -> None:
    worker = WorkerProcess((), 1, server)
    process = psutil.Process(worker.process.pid)
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "libtorch" in maps
    assert os.getsid(process.pid) == process.pid
    assert server_of(worker).ppid() == server._guard.pid
    worker.close()
    assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize(
    ("number", "told"),
    [(signal.SIGKILL, "was ended by SIGKILL (out of memory?)"),
     (signal.SIGSEGV, "was ended by SIGSEGV")],
)  # fmt: skip
def test_the_signal_that_ended_a_worker_is_known(
    worker: WorkerProcess, number: signal.Signals, told: str
) -> None:
    assert not worker.is_gone_within(0.01)
    os.kill(worker.process.pid, number)
    assert worker.is_gone_within(300)
    assert worker.messages() is None
    assert worker.how_it_ended() == f"its worker process {told}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_to_all_processes_of_a_job_end_neither_workers_nor_their_server(
    server: ForkServer, number: signal.Signals
) -> None:
    first = WorkerProcess((), 1, server)
    for pid in (first.process.pid, server_of(first).pid, server._guard.pid):
        os.kill(pid, number)
    assert not first.is_gone_within(0.3)
    second = WorkerProcess((), 1, server)
    assert server_of(second) == server_of(first)
    assert server_of(second).ppid() == server._guard.pid
    for worker in (first, second):
        worker.close()


def test_the_number_of_an_ended_worker_stays_its_own_until_it_is_closed(
    server: ForkServer,
) -> None:
    worker = WorkerProcess((), 1, server)
    pid = worker.process.pid
    os.kill(pid, signal.SIGKILL)
    assert worker.how_it_ended() == "its worker process was ended by SIGKILL (out of memory?)"
    assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    worker.close()
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("is_possible", [True, False])
def test_a_worker_that_has_not_read_what_it_was_told_is_closed(
    is_possible: bool, server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ForkServer, "is_possible", lambda: is_possible)
    worker = WorkerProcess((), 1, server if is_possible else None)
    os.kill(worker.process.pid, signal.SIGKILL)
    assert worker.is_gone_within(300)
    worker.say("too late")
    worker.close()
    assert worker.input.closed and worker.output.closed


def test_a_worker_works_where_the_runner_is_not_where_the_server_was_started(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    worker = WorkerProcess((), 1, server)
    assert isinstance(worker.process, ForkedProcess)
    until(lambda: psutil.Process(worker.process.pid).cwd() == str(tmp_path))
    worker.close()


def test_another_environment_needs_a_server_of_its_own(server: ForkServer) -> None:
    assert server.start(environment(threads=2)) is None
    worker = WorkerProcess((), 2, server)
    own_server = server_of(worker)
    guard = own_server.ppid()
    assert guard != server._guard.pid
    assert "libtorch" not in Path(f"/proc/{worker.process.pid}/maps").read_text()
    worker.close()
    assert not own_server.is_running()
    assert not psutil.pid_exists(guard)


def test_all_workers_of_another_environment_are_from_one_server(
    server: ForkServer, worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = psutil.Process(worker.process.pid).ppid()
    for served, threads in ((server, 2), (None, 1)):
        workers = LocalWorkers(3, threads, (), lambda *_: None, server=served)
        monkeypatch.setattr(WorkerProcess, "give", lambda *_: None)
        for _ in range(3):
            workers.start([Task("run", {}, "", "", None, "", {}, "step", threads)])
        parents = {psutil.Process(pid).ppid() for pid in workers.processes()}
        assert len(workers.processes()) == 3
        assert len(parents) == 1 and parent not in parents
        monkeypatch.setattr(WorkerGroup, "mark_interrupted", lambda *_: None)
        workers.close()
        until(lambda own=parents: not any(map(psutil.pid_exists, own)))


def test_without_a_server_a_worker_is_a_process_of_the_runner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ForkServer, "is_possible", lambda: False)
    worker = WorkerProcess((), 1)
    assert isinstance(worker.process, subprocess.Popen)
    worker.close()


def server_with(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ForkServer:
    """A server that has loaded a module with this source."""
    (folder / "loaded.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return ForkServer(environment(), ["loaded"])


def test_a_worker_has_its_pipes_and_gpus_and_its_exit_status_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_with(_ECHO, tmp_path, monkeypatch)
    for gpus, told in (("", b" hello"), ("3,5", b"3,5 hello")):
        worker = server.start({**environment(), VISIBLE: gpus})
        assert worker is not None
        with worker:
            worker.stdin.write(b"hello\n")
            worker.stdin.flush()
            assert worker.stdout.read() == told
        assert worker.wait() == 7
    server.close()


def test_without_its_server_the_status_of_a_worker_is_unknown_and_others_are_started() -> None:
    server = ForkServer(environment(), [])
    first = WorkerProcess((), 1, server)
    server_of(first).kill()
    assert not first.is_gone_within(0.3)
    os.kill(first.process.pid, signal.SIGKILL)
    assert "whoever knew its exit status" in first.how_it_ended()
    first.close()
    second = WorkerProcess((), 1, server)
    assert second._own_server is not None
    assert server_of(second).ppid() == second._own_server._guard.pid
    second.close()
    server.close()


def test_a_closed_server_ends_what_its_workers_have_left_behind() -> None:
    server = ForkServer(environment(), [])
    worker = WorkerProcess((), 1, server)
    left = psutil.Process(worker.process.pid)
    server.close()
    assert not goes_on(left.pid)
    worker.close()


def test_where_the_working_folder_is_gone_no_worker_is_started_and_nothing_stays_open(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    descriptors = Path("/proc/self/fd")
    before = sorted(descriptors.iterdir())
    with pytest.raises(FileNotFoundError):
        server.start(environment())
    assert sorted(descriptors.iterdir()) == before


def test_where_too_many_files_are_open_no_worker_is_started_and_nothing_stays_open(
    server: ForkServer,
) -> None:
    room = -1
    worker = None
    while worker is None:
        room += 1
        with full_but_for(room) as left:
            try:
                worker = server.start(environment())
            except OSError as error:
                assert error.errno == errno.EMFILE
                assert left() == room
    assert room > 3
    with worker:
        os.kill(worker.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "source",
    ["import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()",
     "raise ValueError"],
)  # fmt: skip
def test_modules_that_start_threads_or_fail_leave_no_server(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_with(source, tmp_path, monkeypatch)
    assert server.start(environment()) is None
    server.close()


_STARTING = """
import os, signal, subprocess
from common.runner.scheduling import worker

def start_another(*_):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    os._exit(0)

def main():
    signal.signal(signal.SIGTERM, start_another)
    print(flush=True)
    while True:
        signal.pause()

worker.main = main
"""


def test_a_closed_server_ends_what_is_started_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_with(_STARTING, tmp_path, monkeypatch)
    worker = server.start(environment())
    assert worker is not None
    with worker:
        worker.stdout.readline()
        server.close()
        told = worker.stdout.readline()
        assert not told or not goes_on(int(told))  # a busy machine may kill it before it starts one


_UNKILLABLE = """
import psutil, subprocess, sys
from pathlib import Path
from common.process import subprocess_cleanup
from common.runner.scheduling import worker

subprocess_cleanup._SECONDS_TO_BE_GONE = 1.0

def kill(process):
    with Path(__file__).with_name("killed").open("a") as file:
        print(process.pid, file=file)

psutil.Process.kill = kill

def main():
    going = "setsid sleep 600 > /dev/null & echo $!"
    subprocess.run(["bash", "-c", going], check=True)
    return 0

worker.main = main
"""


def test_what_cannot_be_killed_holds_up_the_end_of_one_worker_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_with(_UNKILLABLE, tmp_path, monkeypatch)
    left, killed = [], []
    for _ in range(2):
        worker = server.start(environment())
        assert worker is not None
        with worker:
            left.append(int(worker.stdout.readline()))
        said = (tmp_path / "killed").read_text().split()
        killed.append({int(pid) for pid in said})
        (tmp_path / "killed").unlink()
    assert killed == [{pid} for pid in left]
    server.close()
    assert not any(map(goes_on, left))


_HANGING = """
import subprocess, sys
from common.runner.scheduling import fork_server_process, worker
from tests.hanging import hang_in_c

fork_server_process._SECONDS_TO_END = 0.5

def main():
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleeping, start_new_session=True, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    hang_in_c()

worker.main = main
"""
_RUNNER = """
import os, psutil, signal
from common.runner.scheduling.fork_server import ForkServer
from common.runner.scheduling.worker_process import WorkerProcess, worker_environment
worker = WorkerProcess((), 1, ForkServer(worker_environment((), 1), ["hanging_worker"]))
server = psutil.Process(worker.process.pid).parent()
own = psutil.Process().children()
print(worker.process.pid, server.pid, *[child.pid for child in own], end=" ", flush=True)
print(int(worker.output.readline()), flush=True)
"""
_KILL_OWN = "for child in own: child.kill()"
_KILL_SERVER = "server.kill(); server.wait()"
_STOP_SERVER = "server.suspend()"
_END = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param((_END,), id="killed"),
        pytest.param((_KILL_OWN, _END), id="as_ray_ends_its_worker"),
        pytest.param((_KILL_SERVER, _END), id="after_its_server"),
        pytest.param(
            (_STOP_SERVER, _END), id="while_its_server_stands_still", marks=pytest.mark.slow
        ),
    ],
)
def test_a_worker_that_hangs_in_c_ends_with_the_runner_and_all_that_it_has_started(
    tmp_path: Path, how: Sequence[str]
) -> None:
    pids = killed_runner(tmp_path, *how)
    try:
        until(lambda: not any(map(goes_on, pids)))
    finally:
        for pid in filter(goes_on, pids):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_that_hangs_in_c_ends_when_nobody_is_left_to_end_it(tmp_path: Path) -> None:
    worker, *others = killed_runner(tmp_path, _STOP_SERVER, _KILL_OWN, "server.kill()", _END)
    of_server = others[:-1]  # and what the worker has started
    assert goes_on(worker)
    try:
        until(lambda: not any(map(goes_on, [worker, *of_server])))
    finally:
        for pid in filter(goes_on, [worker, *others]):
            os.kill(pid, signal.SIGKILL)


def killed_runner(folder: Path, *how: str) -> list[int]:
    """The worker that hangs, its server and guard, and what it has started, as numbers.

    Their runner ends by the lines of Python ``how``.
    """
    (folder / "hanging_worker.py").write_text(_HANGING)
    said = folder / "said"
    with said.open("w") as file:
        subprocess.run(
            [sys.executable, "-c", "\n".join([_RUNNER, *how])],
            stdout=file,  # no pipe: its end would be the end of all
            stderr=file,
            env={**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{folder}"},
        )
    pids = [int(pid) for pid in said.read_text().split()]
    assert len(pids) > 3
    return pids


def test_runs_are_the_same_in_workers_from_a_server_and_in_this_process(
    workplace: Workplace,
) -> None:
    keys = {**TINY_DIGITS, "num_train_samples": 60, "outputs_dir": "outputs/exps"}
    entry = {"base_config": keys, "options": {"lr": [0.1, 0.2, 0.3]}}
    alone = workplace.write_plan("alone", configurations=[entry])
    parallel = workplace.write_plan(
        "parallel", configurations=[entry], multiprocess=True, num_parallel=2, num_threads=1
    )
    assert workplace.run_plan(alone).status == 0
    assert workplace.run_plan(parallel).status == 0
    for one, other in zip(workplace.folders("alone"), workplace.folders("parallel"), strict=True):
        assert _metrics(one) == _metrics(other)


def _metrics(folder: RunFolder) -> list[dict[str, Any]]:
    rows = read_json_lines(folder.metrics)
    assert rows
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
