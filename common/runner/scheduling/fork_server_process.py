"""Fork server: loads what workers need once, then makes each worker as a copy of itself.

`common.runner.scheduling.fork_server_guard` makes it. A copy of a process with several threads, or
with an open GPU, would not work: the server opens no GPU, runs no user code, and ends if a library
has started a thread. When the runner's end of its socket closes, it ends too, after its workers.
"""

from __future__ import annotations

import importlib
import os
import select
import selectors
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from common.machine.devices import VISIBLE
from common.process.kinship import end_after_writers
from common.process.subprocess_cleanup import children_of, kill, kill_all, leave_after
from common.runner.scheduling import worker

_SECONDS_TO_END = 3.0
"""Seconds in which workers end by themselves once their runner is gone."""


@dataclass
class _Worker:
    pid: int
    pidfd: int
    """Descriptor that can be read once the worker has ended."""
    report: socket.socket
    """Socket over which the runner is told the worker's number and, later, its exit status."""


class _Server:
    """Server of one runner, until that is gone.

    A worker is reaped when the runner says no more over the socket of its report: until then, no
    other process gets its number. The runner hears the end of that socket when all that the worker
    had started is gone, too.
    """

    def __init__(self, runner: socket.socket, guard: int) -> None:
        self._runner = runner
        self._guard = guard
        self._selector = selectors.DefaultSelector()
        self._selector.register(runner, selectors.EVENT_READ)
        self._workers: list[_Worker] = []
        self._unkillable: list[int] = []
        """Processes that hang in a driver, say; no later worker's end is held up by them."""

    def serve(self) -> bool:
        """Make workers as asked; return true in a worker, false in the server at its end."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._runner:
                    asked, descriptors, *_ = socket.recv_fds(self._runner, 65536, 4)
                    if not asked:
                        self._end_workers()
                        return False
                    if self._fork(asked, descriptors):
                        return True
                elif key.fileobj is key.data.report:
                    self._reap(key.data)
                else:
                    self._tell_end(key.data)

    def _fork(self, asked: bytes, descriptors: Sequence[int]) -> bool:
        """Make a worker; return true in the worker.

        ``asked`` has its GPUs and its working folder, ``descriptors`` are those of its input, its
        output, its lifeline and its report.
        """
        begun, in_session = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()  # a terminal's Ctrl-C reaches the runner alone
            os.close(begun)
            os.close(in_session)
            self._become_worker(asked, descriptors)
            return True
        os.close(in_session)
        os.read(begun, 1)  # the runner hears of a worker that it can end by its session
        os.close(begun)
        *of_worker, report = descriptors
        for descriptor in of_worker:
            os.close(descriptor)
        new = _Worker(pid, os.pidfd_open(pid), socket.socket(fileno=report))
        self._workers.append(new)
        self._selector.register(new.pidfd, selectors.EVENT_READ, new)
        self._say(new, pid)
        return False

    def _become_worker(self, asked: bytes, descriptors: Sequence[int]) -> None:
        self._selector.close()
        self._runner.close()
        for other in self._workers:
            other.report.close()
            with suppress(OSError):
                os.close(other.pidfd)
        stdin, stdout, lifeline, report = descriptors
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        for descriptor in (stdin, stdout, report):
            os.close(descriptor)
        end_after_writers(lifeline)
        gpus, _, folder = asked.partition(b"\0")
        os.environ[VISIBLE] = os.fsdecode(gpus)
        os.chdir(folder)

    def _end_workers(self) -> None:
        """Wait until the workers have ended, and kill those that hang.

        A run that waits in C with the interpreter's lock keeps its worker from seeing that the
        runner is gone.
        """
        deadline = time.monotonic() + _SECONDS_TO_END
        for one in self._workers:
            if not _ends_within(deadline - time.monotonic(), one):
                started = children_of(one.pid)
                os.killpg(one.pid, signal.SIGKILL)
                kill(started)

    def _tell_end(self, ended: _Worker) -> None:
        self._selector.unregister(ended.pidfd)
        found = os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        is_exit = found.si_code == os.CLD_EXITED
        self._say(ended, found.si_status if is_exit else -found.si_status)
        self._selector.register(ended.report, selectors.EVENT_READ, ended)

    def _reap(self, ended: _Worker) -> None:
        self._selector.unregister(ended.report)
        self._workers.remove(ended)
        os.waitpid(ended.pid, 0)
        self._unkillable += [process.pid for process in kill_all(self._orphans)]
        os.close(ended.pidfd)
        ended.report.close()

    def _orphans(self) -> list[psutil.Process]:
        """Return what workers that have ended left behind: it went to the guard.

        What living workers start stays below them.
        """
        if os.getppid() != self._guard:  # it is gone, and its number may be another's
            return []
        return children_of(self._guard, but=[os.getpid(), *self._unkillable])

    @staticmethod
    def _say(to: _Worker, number: int) -> None:
        with suppress(OSError):  # the runner may have gone
            to.report.send(str(number).encode())


def _ends_within(seconds: float, one: _Worker) -> bool:
    return bool(select.select([one.pidfd], [], [], max(0.0, seconds))[0])


def _is_single_threaded() -> bool:
    """Return whether this process has one thread, after a first fork.

    Before that, libraries that end their threads for a fork, as OpenBLAS does, have done so.
    """
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return len(list(Path("/proc/self/task").iterdir())) == 1


def main(descriptor: int, guard: int, modules: Sequence[str]) -> None:
    """Load the modules, and serve the runner at the other end of a socket; be a worker in copies.

    ``descriptor`` is the socket's, and ``guard`` the number of the guard's process.
    """
    try:
        for module in modules:
            importlib.import_module(module)
    except Exception:  # a worker will say it, with its run
        return
    if _is_single_threaded() and _Server(socket.socket(fileno=descriptor), guard).serve():
        leave_after(worker.main)
