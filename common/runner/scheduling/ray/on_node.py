"""Work of a Ray task on its node: it makes a run, or several together, in worker processes.

The processes end with the Ray worker, whatever ends that: their standard input ends then.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from common.run import status
from common.runner.scheduling.local_workers import LocalWorkers
from common.runner.scheduling.task import Task, from_line


@dataclass(frozen=True)
class Report:
    """Report of a task; how its runs have ended is in their folders."""

    warnings: Sequence[str] = ()
    refusal: str = ""
    """Cause why this node can make no run, for people."""


class _Warnings(logging.Handler):
    """Log handler that keeps warnings for the report."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record.getMessage())


@dataclass
class _Requests:
    """Stop requests of the runner, which Ray delivers as interrupts of the main thread."""

    count: int = 0

    def hear(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


def make(line: str, place: str, environment: Mapping[str, str]) -> Report:
    """Make the tasks in a line of `common.runner.scheduling.task.to_line`.

    They are made in the folder ``place`` and with the variables ``environment``.
    """
    tasks = from_line(line)
    for path in (Path(place), Path(tasks[0].folder).parent):
        if not path.is_dir():
            return Report(refusal=f"node {socket.gethostname()} does not see {path}; all nodes "
                          "of the cluster need the same file system")  # fmt: skip
    os.chdir(place)
    os.environ.update(environment)
    os.environ[status.JOB] = f"Ray task on {socket.gethostname()}"
    warnings = _Warnings()
    logging.getLogger().addHandler(warnings)
    try:
        with _listening() as requests:
            _work(tasks, requests)
    finally:
        logging.getLogger().removeHandler(warnings)
    return Report(warnings.kept)


def _work(tasks: Sequence[Task], requests: _Requests) -> None:
    """Make the tasks; the first request asks them for checkpoints, the second one kills them."""
    threads, ranks = tasks[0].threads, tasks[0].num_ranks
    workers = LocalWorkers(1, threads, (), lambda *_: None, most_ranks=ranks)
    passed_on = False
    try:
        workers.start(tasks)
        while not workers.wait() and requests.count < 2:
            if requests.count and not passed_on:
                workers.request_stop()
                passed_on = True
    finally:
        workers.close()


@contextmanager
def _listening() -> Iterator[_Requests]:
    requests = _Requests()
    before = signal.signal(signal.SIGINT, requests.hear)
    try:
        yield requests
    finally:
        signal.signal(signal.SIGINT, before)
