"""Guard of a fork server: the process between it and the runner.

The server ends its workers once the runner is gone, those too that hang; the guard does so if the
server has been killed. So one of both is there if either is killed: Ray, for one, kills the
processes that its worker has started before that ends, but not their own. If both are, the kernel
ends the workers themselves, see `common.process.kinship.end_after_writers`.

The guard loads nothing of weight, and makes the server as a copy of itself. Orphans among the
workers and what they have started become its children. Its standard input ends with the runner, and
has a byte before if that closes the server, when only what runs have left behind is still there.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress

from common.process.kinship import adopt_orphans, has_children
from common.process.stopping import OF_CLUSTERS

_SECONDS_TO_END = 6.0
"""Seconds in which all end once the runner is gone: twice what the server gives its workers."""


def main() -> None:
    """Watch a fork server, which is made here; be that server, or a worker of it, in the copies.

    The command line has the descriptor of the server's socket and the modules to load.
    """
    descriptor, *modules = sys.argv[1:]
    # Some clusters send them to all processes of a job.
    for number in (signal.SIGINT, signal.SIGTERM, *OF_CLUSTERS):
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    guard = os.getpid()
    server = os.fork()
    if server == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        from common.runner.scheduling import fork_server_process

        fork_server_process.main(int(descriptor), guard, modules)
    else:
        os.close(int(descriptor))
        _guard(server)


def _guard(server: int) -> None:
    """Return once the server is closed, or the runner is gone, and all have ended."""
    pidfd = os.pidfd_open(server)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the orphans
    if os.read(0, 1):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [])
        _end_what_is_left(0.0)
    else:
        _end_what_is_left(_SECONDS_TO_END)


def _end_what_is_left(seconds: float) -> None:
    """Wait until the server, its workers and their orphans have ended, and end those that hang."""
    if has_children():
        from common.process.subprocess_cleanup import children_of, end_all_children, wait_for

        wait_for(children_of(os.getpid()), seconds)
        end_all_children()


if __name__ == "__main__":
    main()
