"""A plan under way, as seen from its folder."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from common.run.status import RUNNING, current
from tests.common.executors.site import Site, num_rows
from tests.programs import Program

_LONGEST_WAIT = 600.0  # seconds for a run to begin, as machines are crowded
_ROWS = 20
"""Rows of metrics that are written between two troubles, at most."""
_SECONDS = 4.0
"""Seconds between two troubles while runs are under way, at most."""


@dataclass
class UnderWay:
    """A plan, and dice that say when its next trouble comes."""

    site: Site
    plan: Path
    dice: random.Random

    def start(self) -> Program:
        return self.site.start(self.plan, "--disable_console_log")

    def reaches_work(self, runner: Program, least: int = 0) -> bool:
        """Waits until runs are under way and some work is done; false if the runner has ended.

        ``least`` is the number of rows of metrics that are written meanwhile at least.
        """
        rows, deadline = self._rows(), time.monotonic() + _LONGEST_WAIT
        while not self.workers() or self._rows() < rows + least:
            if runner.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        enough = self._rows() + self.dice.randint(0, _ROWS)
        deadline = time.monotonic() + self.dice.uniform(0, _SECONDS)
        while self._rows() < enough and time.monotonic() < deadline:
            time.sleep(0.02)
        return runner.poll() is None

    def workers(self) -> Sequence[psutil.Process]:
        """The processes that are making runs."""
        statuses = ((run, run.read_status()) for run in self.site.runs(self.plan.stem).values())
        pids = {found.get("pid") for run, found in statuses if current(run, found) == RUNNING}
        found = []
        for pid in sorted(pids - {None}):
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return found

    def _rows(self) -> int:
        return sum(map(num_rows, self.site.runs(self.plan.stem).values()))
