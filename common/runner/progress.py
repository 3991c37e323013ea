"""Progress of a plan: bars on a terminal, plain lines in a log file."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from common.plan.run import Run
from common.run.status import DONE, FAILED, SKIPPED
from common.runner.run_state import RunState
from common.runner.scheduling.task import Task, names

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 15.0


class Display:
    """Display of the runs done, failed and left of a plan, and of the runs under way."""

    def __init__(self, name: str, states: list[str], *, quiet: bool = False) -> None:
        """Start the display.

        ``states`` are those of all runs to be made, ``quiet`` reports failed runs only.
        """
        self._bars_shown = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._runs = tqdm(
            total=len(states),
            initial=states.count(DONE),
            desc=name,
            unit="run",
            disable=not self._bars_shown,
        )
        self._num_runs = len(states)
        self._counts = Counter(states)
        """Number of runs in each state, of those that had ended before or have ended since."""
        self._bars: dict[str, tqdm[Any]] = {}
        self._said_at = time.monotonic()

    def progress(self, tasks: Sequence[Task], done: int, total: int) -> None:
        """Show the progress of a slot's runs."""
        first, name = tasks[0], names(tasks)
        if first.config["disable_console_log"]:
            return
        if self._bars_shown:
            if first.folder not in self._bars:
                self._bars[first.folder] = tqdm(
                    total=total, initial=done, desc=f"  {name}", unit=first.unit, leave=False
                )
            bar = self._bars[first.folder]
            bar.update(done - bar.n)
        elif not self._quiet and time.monotonic() - self._said_at >= _SECONDS_BETWEEN_LINES:
            self._said_at = time.monotonic()
            log.info("%s: %s %d of %d", name, first.unit, done, total)

    def ended(self, run: Run, state: RunState) -> None:
        """Show that a run has ended."""
        bar = self._bars.pop(str(run.folder), None)
        if bar is not None:
            bar.close()
        self._counts[state.state] += 1
        done, failed = self._counts[DONE], self._counts[FAILED] + self._counts[SKIPPED]
        left = self._num_runs - done - failed
        self._runs.set_postfix_str(f"{done} done, {failed} failed, {left} left", refresh=False)
        if self._bars_shown:
            self._runs.update(done + failed - self._runs.n)
        if state.state != DONE:
            level = logging.WARNING
        elif self._quiet or run.config.disable_console_log:
            level = logging.DEBUG
        else:
            level = logging.INFO
        reason = f", {state.reason}" if state.reason else ""
        log.log(level, "%s: %s%s (%d done, %d failed, %d left)", run.name, state.state, reason,
                done, failed, left)  # fmt: skip

    def close(self) -> None:
        """Remove the bars."""
        for bar in [*self._bars.values(), self._runs]:
            bar.close()
