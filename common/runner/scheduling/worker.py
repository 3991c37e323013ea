"""A worker process: takes tasks as lines on standard input, makes line after line.

It answers with `common.runner.scheduling.messages`: ``{"progress": [done, total, doing]}``,
``{"warning": text}`` and ``{"ended": true}``, and, of a rank that is not its run's first,
``{"failed": reason, "traceback": lines, "rendezvous": path}``. What runs print goes to their
``log.txt``; to the first one's where several share a line. Runs themselves have no input. When that
of the worker ends, the parent is gone; the worker then ends at once, so that nobody else finds it
writing, or waits for it. A run that closes the worker's pipes, which it does not know, cuts the
worker off; that then ends after the runs it has been given.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn, TextIO

from common.custom.user_code import look_in
from common.errors import Interrupted
from common.machine.devices import free_memory
from common.process.console import outlive_readers
from common.process.descriptors import OwnDescriptor
from common.process.kinship import adopt_orphans
from common.process.snapshot import put_back
from common.process.stopping import OF_CLUSTERS, StopFlag
from common.process.subprocess_cleanup import children_of, end, leave_after
from common.run.lease import end_when_lost
from common.runner.scheduling.attempt import LOG_NAME as ATTEMPT_LOG
from common.runner.scheduling.attempt import attempt
from common.runner.scheduling.failure import failure_of
from common.runner.scheduling.messages import to_line
from common.runner.scheduling.rank import take_part
from common.runner.scheduling.task import Task, from_line

STOP = "stop"
_SECONDS_BETWEEN_REPORTS = 0.2


class _Parent:
    """Pipes to the parent process, until a run closes one."""

    def __init__(self, tasks: TextIO, answers: TextIO) -> None:
        self._in, self._out = tasks, answers
        self._own_in = OwnDescriptor(tasks.fileno())
        self._own_out = OwnDescriptor(answers.fileno())
        self._pid = os.getpid()
        self._said_at = 0.0
        self._untold: list[Any] = []
        self._telling = threading.Lock()
        self.tasks: queue.Queue[list[Task]] = queue.Queue()
        """Tasks of each line; none, once no more can come."""
        self.is_cut_off = False
        self.stop = StopFlag()

    def say(self, message: dict[str, Any]) -> None:
        try:
            self._own_out.check()
            self._out.write(to_line(self._pid, message))
            self._out.flush()
        except OSError:
            self._cut_off()

    def _cut_off(self) -> None:
        self.is_cut_off = True
        self.tasks.put([])

    def progress(self, done: int, total: int, doing: str = "") -> None:
        self._untold = [done, total, doing]
        self._tell_if_due()

    def tell_what_lasts(self) -> NoReturn:
        """Tell, again and again, the progress that came too soon and that no other has followed."""
        while True:
            time.sleep(_SECONDS_BETWEEN_REPORTS)
            self._tell_if_due()

    def _tell_if_due(self) -> None:
        if time.monotonic() - self._said_at >= _SECONDS_BETWEEN_REPORTS:
            self.tell()

    def tell(self) -> None:
        """Tell the last progress, unless it has been told."""
        with self._telling:
            untold, self._untold = self._untold, []
            if untold:
                self._said_at = time.monotonic()
                self.say({"progress": untold})

    def tell_end(self) -> None:
        """Tell that the runs have ended; the parent gives the next ones then.

        If they could not be heard of, the parent learns by the end of this process.
        """
        try:
            self._own_in.check()
        except OSError:  # also if `listen` still waits for the end of a line
            self._cut_off()
        if not self.is_cut_off:
            self.tell()  # not later: it would count as the next run's
            self.say({"ended": True})

    def listen(self) -> None:
        try:
            while (line := self._next_line()).endswith("\n"):
                if line.strip() == STOP:
                    self.stop.request()
                else:
                    self.tasks.put(from_line(line))
        except OSError:
            self._cut_off()
        else:
            _end_at_once()

    def _next_line(self) -> str:
        """Return the parent's next line; one without its end if the parent is gone."""
        self._own_in.check()
        line = self._in.readline()
        if not line:
            self._own_in.check()
        return line


def _own_pipes() -> tuple[TextIO, TextIO]:
    """Return copies of standard input and output, and leave runs an input that is empty."""
    copies = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    no_input = os.open(os.devnull, os.O_RDONLY)
    os.dup2(no_input, 0)
    os.close(no_input)
    return copies


def _end_at_once() -> NoReturn:
    end(children_of(os.getpid()))
    os._exit(1)


class _Warnings(logging.Handler):
    """Log handler that sends runs' warnings to the parent; errors are in their folders."""

    def __init__(self, parent: _Parent) -> None:
        super().__init__(logging.WARNING)
        self._parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != ATTEMPT_LOG:
            self._parent.say({"warning": record.getMessage()})


def _print_to(path: Path) -> None:
    """Redirect all output of this process, in whatever language, to the end of ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)


def _take_part(task: Task, parent: _Parent) -> None:
    """Make a later rank's part of a run; report its failure to the parent."""
    _print_to(Path(os.devnull))
    try:
        with put_back():
            take_part(task, stop_requested=parent.stop, print_to=_print_to)
    except Interrupted:
        pass  # the first rank says so
    except BaseException as error:  # user code may raise, or end, what it likes
        found = failure_of(error, task)
        parent.say({"failed": found.reason, "traceback": found.traceback,
                    "rendezvous": task.rendezvous})  # fmt: skip


def main() -> int:
    """Make tasks until a stop request, or until no more can come; return the exit status."""
    adopt_orphans()  # so that what runs start is known to be theirs
    parent = _Parent(*_own_pipes())
    outlive_readers()
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(_Warnings(parent))
    for number in (signal.SIGINT, *OF_CLUSTERS):  # they are the parent's to pass on
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: parent.stop.request())
    end_when_lost(_end_at_once)
    threading.Thread(target=parent.listen, daemon=True).start()
    threading.Thread(target=parent.tell_what_lasts, daemon=True).start()
    while not parent.stop() and (tasks := parent.tasks.get()):
        look_in(Path(tasks[0].import_from))
        is_first = tasks[0].rank == 0
        if is_first:
            is_made = attempt(
                tasks, stop_requested=parent.stop, progress=parent.progress, print_to=_print_to
            )
            if not is_made and tasks[0].num_ranks > 1:
                return 0  # the other ranks wait in vain: the parent ends them
        else:
            _take_part(tasks[0], parent)
        free_memory()  # before the end is heard of: the next run may be another process's
        if is_first:
            parent.tell_end()
    return 0


if __name__ == "__main__":
    leave_after(main)
