"""A guard of a fork server that has loaded what workers need before anybody asks for it.

A program that tests start is a copy of a process that has torch. So is this guard, a child of the
program that waits until its runner starts a fork server, which then need not load torch again. It
waits a shorter time for processes that hang.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from common.process import supervisor
from common.runner.scheduling import fork_server, fork_server_guard, fork_server_process

NAME = "fork_server"
"""Name of its process and of those that it makes, whose command lines are the program's."""
_PR_SET_NAME = 15
_LARGEST = 2**17
"""Bytes of a request: an environment and names of modules."""


def prepare() -> None:
    """Has the first fork server of this program, or of its copies, start from a copy of it now."""
    asked, waiting = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        asked.close()
        _wait(waiting)
    waiting.close()
    supervisor._children = list  # this one goes with the program: no shell has started it
    start_fresh = fork_server.start_guard

    def start(environment: Mapping[str, str], server: int, modules: Sequence[str]) -> Any:
        stdin, said = os.pipe()
        request = json.dumps([dict(environment), list(modules)]).encode()
        try:
            socket.send_fds(asked, [request], [stdin, server])
        except OSError:  # it is one already
            os.close(said)
            return start_fresh(environment, server, modules)
        finally:
            os.close(stdin)
        return _Guard(pid, said)

    fork_server.start_guard = start


class _Guard:
    """The part of `subprocess.Popen` that a fork server needs of its guard."""

    def __init__(self, pid: int, stdin: int) -> None:
        self.pid = pid
        self._stdin = stdin
        self._pidfd = os.pidfd_open(pid)

    def communicate(self, said: bytes) -> None:
        """Says the last word, and waits for the end."""
        os.write(self._stdin, said)
        os.close(self._stdin)
        select.select([self._pidfd], [], [])
        os.close(self._pidfd)


def _wait(asker: socket.socket) -> NoReturn:
    """Becomes a guard when asked, unless the program ends before."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME.encode(), 0, 0, 0)
    request, descriptors, *_ = socket.recv_fds(asker, _LARGEST, 2)
    asker.close()
    if not request:
        os._exit(0)
    environment, modules = json.loads(request)
    stdin, server = descriptors
    os.dup2(stdin, 0)
    os.close(stdin)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [NAME, str(server), *modules]
    fork_server_process._SECONDS_TO_END, fork_server_guard._SECONDS_TO_END = 1.0, 2.0
    guard = os.getpid()
    fork_server_guard.main()
    if os.getpid() == guard:
        os._exit(0)
    sys.exit()
