"""Worker process as its parent sees it: start, messages, end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.machine.devices import VISIBLE, names_of
from common.process.endings import how_it_ended
from common.process.subprocess_cleanup import children_of, end, group_of
from common.process.threads import waiting_of
from common.runner.scheduling.fork_server import ForkedProcess, ForkServer
from common.runner.scheduling.messages import Messages
from common.runner.scheduling.task import Task, to_line

_PROJECT = Path(__file__).resolve().parents[3]


class WorkerProcess:
    """Process of `common.runner.scheduling.worker` that sees its own GPUs alone, or none."""

    def __init__(
        self, gpu_ids: Sequence[int], threads: int, server: ForkServer | None = None
    ) -> None:
        environment = worker_environment(gpu_ids, threads)
        self._own_server: ForkServer | None = None
        self.process = _forked(server, environment) or self._fresh(environment)
        assert self.process.stdin and self.process.stdout
        self.input = self.process.stdin
        self.output = self.process.stdout
        self.is_silent = False
        """True if its output has ended: it has ended itself, or its run has closed what it does not
        know."""
        self._messages = Messages(self.process.pid)

    def _fresh(self, environment: Mapping[str, str]) -> ForkedProcess | subprocess.Popen[bytes]:
        """Start a process that has loaded nothing, from a server that ends it if it hangs."""
        if ForkServer.is_possible():
            self._own_server = ForkServer(environment, ())
        return _forked(self._own_server, environment) or subprocess.Popen(
            [sys.executable, "-m", "common.runner.scheduling.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone
        )

    def give(self, tasks: Sequence[Task]) -> None:
        """Send the tasks to the process."""
        self.say(to_line(tasks))

    def say(self, line: str) -> None:
        """Send one line; the end of a worker is noticed at its output."""
        try:
            self.input.write(line.encode() + b"\n")
            self.input.flush()
        except BrokenPipeError:
            pass

    def messages(self) -> list[dict[str, Any]] | None:
        """Return the worker's new messages; None if its output has ended."""
        chunk = os.read(self.output.fileno(), 65536)
        if not chunk:
            self.is_silent = True
            return None
        return self._messages.of(chunk)

    def is_gone_within(self, seconds: float) -> bool:
        """Wait a moment; return whether the process has ended."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def has_gone_unheard(self) -> bool:
        """Return whether it has ended, and its output does not tell that.

        That ended before the worker, or a copy of the worker has it open, too.
        """
        if not self.is_gone_within(0.0):
            return False
        if self.is_silent:
            return True
        poll = select.poll()
        poll.register(self.output, select.POLLIN)
        return not poll.poll(0)

    def how_it_ended(self) -> str:
        """Return why the process has ended, for people."""
        return how_it_ended(self.process.wait())

    def close(self) -> None:
        """Kill the process and those that its runs have started; they are gone afterwards."""
        with suppress(BrokenPipeError), self.process as process:  # of what it has not read
            # The group outlives a worker that has died.
            started = {*children_of(process.pid), *group_of(process.pid)}
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            end(started)
        if self._own_server is not None:
            self._own_server.close()


def _forked(server: ForkServer | None, environment: Mapping[str, str]) -> ForkedProcess | None:
    return None if server is None else server.start(environment)


def worker_environment(gpu_ids: Sequence[int], threads: int) -> dict[str, str]:
    """Return the worker's environment: its GPUs and threads; idle threads sleep soon."""
    return {
        **waiting_of(os.environ),
        **os.environ,
        VISIBLE: names_of(gpu_ids),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(
            [str(_PROJECT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        ).rstrip(os.pathsep),
    }
