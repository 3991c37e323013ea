"""Kills at random: of worker processes, of the runner, or of both."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from common.run.status import RUNNING, current
from tests.common.executors.site import Site

TARGETS = ("worker", "runner", "both")
_LONGEST_WAIT = 60.0  # seconds for a run to begin


@dataclass
class Storm:
    """Kills of what makes a plan's runs, at moments that a seed draws."""

    site: Site
    plan: Path
    dice: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    commands: int = 0

    def rage(self, num_kills: int, between: Callable[[], None] = lambda: None) -> None:
        """Starts the plan again and again until so many kills have struck, or all is done.

        ``between`` is done while no runner works.
        """
        while self.kills.total() < num_kills:
            runner = self._start()
            while self.kills.total() < num_kills and self._struck(runner):
                pass
            if runner.poll() == 0:
                return
            self._kill([psutil.Process(runner.pid)] if runner.poll() is None else [])
            runner.wait()
            between()

    def _start(self) -> subprocess.Popen[str]:
        self.commands += 1
        return self.site.start(self.plan, "--disable_console_log")

    def _struck(self, runner: subprocess.Popen[str]) -> bool:
        """Kills something while runs are under way; gives whether the runner is left."""
        deadline = time.monotonic() + _LONGEST_WAIT
        while not (workers := self._workers()):
            if runner.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        time.sleep(self.dice.random() * 1.5)
        target = self.dice.choice(TARGETS)
        workers = self._workers()
        if runner.poll() is not None or not workers:
            return runner.poll() is None
        own = psutil.Process(runner.pid)
        victims = [self.dice.choice(workers)] if target == "worker" else [own]
        self._kill(victims + workers if target == "both" else victims)
        self.kills[target] += 1
        return target == "worker"

    def _workers(self) -> Sequence[psutil.Process]:
        """The processes that are making runs."""
        statuses = self.site.statuses(self.plan.stem).values()
        pids = {found["pid"] for found in statuses if current(found) == RUNNING}
        found = []
        for pid in sorted(pids):
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return found

    def _kill(self, processes: Sequence[psutil.Process]) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
