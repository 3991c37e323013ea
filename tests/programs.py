"""The program as a process of its own, whose libraries are loaded when it starts.

`Program` starts ``run_plan.py`` as a copy of a server that has imported torch and the project, and
has done nothing else. So it is told from one that a shell starts by its first seconds alone, in
which that one would still be importing, by syncs that do not wait for the disk, and by how long it
waits for a process that hangs.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

PROJECT = Path(__file__).resolve().parent.parent
_ENVIRONMENT = dict(os.environ)
"""Of the tests, before any test changes it."""
_LARGEST = 2**17
"""Bytes of a request: the arguments, folder and environment of a program."""


class Program:
    """The program under way, with the part of `subprocess.Popen` that tests need."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        """Starts ``run_plan.py`` with these arguments in a folder."""
        request = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
        (out, stdout), (err, stderr) = os.pipe(), os.pipe()
        self._report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(_server()[0], [request], [stdout, stderr, theirs.fileno()])
        os.close(stdout)
        os.close(stderr)
        self._err = err
        self._said = {out: b"", err: b""}
        self._closed: set[int] = set()
        self.pid = int(self._report.recv(32))
        self.returncode: int | None = None
        """Exit status, ``-n`` after a signal ``n``; None as long as nobody has seen the end."""
        atexit.register(self.kill)

    def poll(self) -> int | None:
        """The exit status; None if the program goes on."""
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once the program has ended.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        if self.returncode is None:
            self._report.settimeout(timeout)
            try:
                self.returncode = int(self._report.recv(32))
            except TimeoutError:
                raise subprocess.TimeoutExpired("run_plan.py", timeout or 0.0) from None
            self._report.close()
            atexit.unregister(self.kill)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What the program has said on standard output and standard error, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._said.keys() - self._closed:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select(list(self._said.keys() - self._closed), [], [], left)
            if not ready:
                raise subprocess.TimeoutExpired("run_plan.py", timeout or 0.0)
            for pipe in ready:
                self._read(pipe)
        self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        out, err = (said.decode() for said in self._said.values())
        return out, err

    def heard(self) -> str:
        """What the program has said on standard error until now."""
        while self._err not in self._closed and select.select([self._err], [], [], 0)[0]:
            self._read(self._err)
        return self._said[self._err].decode(errors="replace")

    def _read(self, pipe: int) -> None:
        chunk = os.read(pipe, 65536)
        self._said[pipe] += chunk
        if not chunk:
            os.close(pipe)
            self._closed.add(pipe)

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills the program."""
        self.send_signal(signal.SIGKILL)


@functools.cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """This process's end of the socket of the server, which ends when it is closed; and that."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            cwd=PROJECT,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    return ours, process


def end_server() -> None:
    """Ends the server, if there is one."""
    if _server.cache_info().currsize:
        ours, process = _server()
        ours.close()
        process.kill()
        process.wait()
        _server.cache_clear()


def _load() -> None:
    """Loads what programs need; copies have it."""
    import torch  # noqa: F401

    import run_plan  # noqa: F401
    import tests.common.executors.acting
    import tests.hostile  # noqa: F401
    from common.process import supervisor
    from tests.quick_sync import quick_sync

    os.fsync = quick_sync
    supervisor._SECONDS_TO_END = 2.0
    gc.freeze()  # copies look for no garbage here, which would copy the pages, too


def _serve(asker: socket.socket) -> None:
    """Starts programs until nobody asks any more; does not return in them."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for programs
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests' own nohup is not the programs'
    while True:
        request, descriptors, *_ = socket.recv_fds(asker, _LARGEST, 3)
        if not request:
            return
        if os.fork() == 0:
            asker.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _watch(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _watch(request: bytes, descriptors: Sequence[int]) -> NoReturn:
    """Starts a program, and tells of its number and its end."""
    stdout, stderr, report = descriptors
    program = os.fork()
    if program == 0:
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        for descriptor in descriptors:
            os.close(descriptor)
        _become(*json.loads(request))
    os.close(stdout)
    os.close(stderr)
    with socket.socket(fileno=report) as asker:
        asker.send(str(program).encode())
        _, status = os.waitpid(program, 0)
        asker.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(arguments: Sequence[str], folder: str, environment: Mapping[str, str]) -> NoReturn:
    """Runs the program in this process."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    program = str(PROJECT / "run_plan.py")
    sys.argv = [program, *arguments]
    if _has_workers(arguments):
        from tests import ready_guard

        ready_guard.prepare()
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        leave(end.code)
    sys.exit()


def leave(status: int) -> NoReturn:
    """Ends this copy as Python does, but does not take all modules apart: that is half a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _has_workers(arguments: Sequence[str]) -> bool:
    """Whether runs of the plan that is among the arguments are made by workers of this machine."""
    plans = [Path(each) for each in arguments if each.endswith(".json")]
    return any('"multiprocess": true' in plan.read_text() for plan in plans if plan.exists())


if __name__ == "__main__":
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
