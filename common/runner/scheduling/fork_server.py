"""Fork server as the runner sees it: it has loaded what workers need, and starts them in no time.

A worker from the server starts in some milliseconds; a fresh process first loads torch, for
seconds. What libraries read when they are loaded (``OMP_NUM_THREADS``, say) the server has read for
all its workers, so it makes only those whose environment is its own, but for the visible GPUs.
Where it does not serve, the caller starts a fresh process.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Self

from common.machine.devices import VISIBLE


class ForkedProcess:
    """Process that a server has started, with the part of `subprocess.Popen` that workers need.

    Its number is its own, also when it has ended, until the end of its ``with`` block.
    """

    def __init__(
        self,
        pid: int,
        pidfd: int,
        stdin: IO[bytes],
        stdout: IO[bytes],
        report: socket.socket,
        lifeline: int,
    ) -> None:
        """Take the process's pipes; it does not outlive ``lifeline``, an end of one, for long."""
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self._report = report
        self._lifeline = lifeline
        self._pidfd = pidfd
        self._has_ended = False
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; return the exit status, ``-n`` after a signal ``n``.

        None if it is unknown, because the server is gone.

        Raises:
            subprocess.TimeoutExpired: the process goes on.
        """
        if not self._has_ended:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            if not poll.poll(None if timeout is None else 1000 * timeout):
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            self._has_ended, self._code = True, _number(self._report)
        return self._code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the pipes, wait for the end, and have the server reap the process."""
        self.stdout.close()
        try:
            self.stdin.close()
        finally:
            self.wait()
            _let_reap(self._report)
            os.close(self._pidfd)
            os.close(self._lifeline)


class ForkServer:
    """Server in a process of its own, which starts while its user does something else."""

    def __init__(self, environment: Mapping[str, str], modules: Iterable[str]) -> None:
        """Begin to start the server, which loads ``modules``."""
        self._environment = dict(environment)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._guard = start_guard(self._environment, theirs.fileno(), list(modules))

    @staticmethod
    def is_possible() -> bool:
        """Return whether this system has what a server needs: Linux 5.3 does."""
        try:
            os.close(os.pidfd_open(os.getpid()))
        except (AttributeError, OSError):
            return False
        return True

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Return whether its workers may have this environment: its own, but for visible GPUs."""
        return {**environment, VISIBLE: ""} == {**self._environment, VISIBLE: ""}

    def start(self, environment: Mapping[str, str]) -> ForkedProcess | None:
        """Return a new worker, once the server is ready; None if the server does not make it.

        Raises:
            FileNotFoundError: the working folder has been deleted.
        """
        if not self.serves(environment):
            return None
        # The server itself stays where the runner was at its start.
        request = os.fsencode(environment[VISIBLE]) + b"\0" + os.fsencode(Path.cwd())
        with ExitStack() as own, ExitStack() as theirs:
            stdin, input_ = _pipe(theirs, own)
            output, stdout = _pipe(own, theirs)
            watched, lifeline = _pipe(theirs, own)
            report, of_worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            own.enter_context(report)
            theirs.enter_context(of_worker)
            with suppress(OSError):  # the server has ended
                descriptors = [stdin, stdout, watched, of_worker.fileno()]
                socket.send_fds(self._socket, [request], descriptors)
            theirs.close()
            pid = _number(report)
            if pid is None:
                return None
            pidfd = os.pidfd_open(pid)
            own.pop_all()
        pipes = os.fdopen(input_, "wb"), os.fdopen(output, "rb")
        return ForkedProcess(pid, pidfd, *pipes, report, lifeline)

    def close(self) -> None:
        """End the server, and what its workers have left behind; they have been closed."""
        self._guard.communicate(b"\n")
        self._socket.close()


def start_guard(
    environment: Mapping[str, str], server: int, modules: Sequence[str]
) -> subprocess.Popen[bytes]:
    """Start the guard of a server; ``server`` is the descriptor of the server's socket."""
    return subprocess.Popen(
        [
            sys.executable, "-m", "common.runner.scheduling.fork_server_guard",
            str(server), *modules,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
        pass_fds=[server],
        start_new_session=True,
    )  # fmt: skip


def _pipe(of_reader: ExitStack, of_writer: ExitStack) -> tuple[int, int]:
    """Return the ends of a new pipe, which the stack of their user closes."""
    ends = os.pipe()
    for stack, end in zip((of_reader, of_writer), ends, strict=True):
        stack.callback(os.close, end)
    return ends


def _let_reap(report: socket.socket) -> None:
    """Tell the server that the process may be reaped, and wait until it is."""
    with report, suppress(OSError):
        report.shutdown(socket.SHUT_WR)
        report.recv(1)


def _number(report: socket.socket) -> int | None:
    """Return the server's next number over ``report``; None if the server is gone."""
    with suppress(OSError):
        told = report.recv(32)
        return int(told) if told else None
    return None
