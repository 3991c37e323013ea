"""Makes runs in worker processes of this machine, one per slot, each with its GPU if any."""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import status
from common.run_folder import RunFolder
from common.scheduling.executor import ProgressOf
from common.scheduling.task import Task, names, to_line
from common.scheduling.worker import STOP

log = logging.getLogger(__name__)

_PROJECT = Path(__file__).resolve().parents[2]
_LONGEST_WAIT = 0.5  # seconds


class _Worker:
    """A process of `common.scheduling.worker`, reused from run to run."""

    def __init__(self, gpu_id: int | None, threads: int) -> None:
        self.gpu_id = gpu_id
        self.tasks: Sequence[Task] = ()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "common.scheduling.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(gpu_id, threads),
            start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone
        )
        assert self.process.stdin and self.process.stdout
        self.input = self.process.stdin
        self.output = self.process.stdout
        self._rest = b""

    def say(self, line: str) -> None:
        """Sends one line; a worker that is gone is noticed when its output ends."""
        try:
            self.input.write(line.encode() + b"\n")
            self.input.flush()
        except BrokenPipeError:
            pass

    def messages(self) -> list[dict[str, Any]] | None:
        """What the worker has said; None when it is gone."""
        chunk = os.read(self.output.fileno(), 65536)
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def how_it_ended(self) -> str:
        """Why the process is gone, for people."""
        code = self.process.wait()
        if code >= 0:
            return f"its worker process ended with exit status {code}"
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"its worker process was ended by {name}{hint}"

    def mark_interrupted(self, reason: str) -> None:
        """Says so in the folders of those tasks that the process had not ended yet."""
        for task in self.tasks:
            folder = RunFolder(Path(task.folder))
            found = folder.read_status()
            ended_here = found.get("pid") == self.process.pid and found["status"] != status.RUNNING
            if not ended_here:
                status.end(folder, status.INTERRUPTED, reason=reason)

    def close(self) -> None:
        """Ends the process at once."""
        self.process.kill()
        self.process.wait()
        self.input.close()
        self.output.close()


class LocalWorkers:
    """An executor with one slot per worker process.

    A worker that dies leaves its runs interrupted, with the signal named, and is replaced.
    """

    def __init__(
        self,
        slots: int,
        threads: int,
        gpu_ids: Sequence[int],
        progress: ProgressOf,
    ) -> None:
        self._threads = threads
        self._progress = progress
        self._idle_gpus = [
            gpu_ids[slot % len(gpu_ids)] if gpu_ids else None for slot in range(slots)
        ]
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    @property
    def free_slots(self) -> int:
        """Idle workers, and slots whose worker has not been started yet."""
        return len(self._idle) + len(self._idle_gpus)

    def start(self, tasks: Sequence[Task]) -> None:
        """Gives the tasks to an idle worker, or to a new one."""
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = _Worker(self._idle_gpus.pop(0), self._threads)
            self._selector.register(worker.output, selectors.EVENT_READ, worker)
        if worker.gpu_id is not None:
            tasks = [_on_gpu(task, worker.gpu_id) for task in tasks]
        worker.tasks = tasks
        self._busy.append(worker)
        worker.say(to_line(tasks))

    def wait(self) -> list[Task]:
        """The tasks that have ended, of themselves or with their worker."""
        ended: list[Task] = []
        for key, _ in self._selector.select(_LONGEST_WAIT):
            worker: _Worker = key.data
            messages = worker.messages()
            if messages is None:
                ended += self._bury(worker)
                continue
            for message in messages:
                if "progress" in message and worker.tasks:
                    self._progress(worker.tasks, *message["progress"])
                elif "warning" in message and worker.tasks:
                    log.warning("%s: %s", names(worker.tasks), message["warning"])
                elif "ended" in message and worker.tasks:
                    ended += worker.tasks
                    self._release(worker)
        return ended

    def _release(self, worker: _Worker) -> None:
        """Makes the worker idle, or replaces it where a failure may have left its GPU unusable."""
        folders = [RunFolder(Path(task.folder)) for task in worker.tasks]
        failed = any(folder.read_status().get("status") == status.FAILED for folder in folders)
        self._busy.remove(worker)
        worker.tasks = ()
        if failed and worker.gpu_id is not None:
            self._discard(worker)
        else:
            self._idle.append(worker)

    def _bury(self, worker: _Worker) -> Sequence[Task]:
        """Takes leave of a dead worker; gives the tasks that it leaves, marked as interrupted."""
        (self._busy if worker.tasks else self._idle).remove(worker)
        worker.mark_interrupted(worker.how_it_ended())
        self._discard(worker)
        return worker.tasks

    def _discard(self, worker: _Worker) -> None:
        self._selector.unregister(worker.output)
        worker.close()
        self._idle_gpus.append(worker.gpu_id)

    def request_stop(self) -> None:
        """Asks every busy worker to checkpoint and end its runs."""
        for worker in self._busy:
            worker.say(STOP)

    def close(self) -> None:
        """Ends all workers at once; runs still under way are marked as interrupted."""
        for worker in [*self._busy, *self._idle]:
            worker.close()
            worker.mark_interrupted("stopped at once")
        self._selector.close()


def _on_gpu(task: Task, gpu_id: int) -> Task:
    """The task for a worker that sees this GPU alone."""
    return replace(task, config={**task.config, "gpu_ids": [gpu_id]}, device_ids=(0,))


def _environment(gpu_id: int | None, threads: int) -> dict[str, str]:
    """The worker's environment: its GPU, its threads, and threads that sleep while they wait."""
    environment = {
        "OMP_WAIT_POLICY": "passive",  # spinning threads stall every neighbour on a busy machine
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(
            [str(_PROJECT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        ).rstrip(os.pathsep),
    }
    if gpu_id is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu_id] if visible else str(gpu_id)
    return environment
