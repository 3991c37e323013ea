"""Progress of a plan: bars on a terminal, plain lines in a log file."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from common.plan.run import Run
from common.run.status import DONE, FAILED, SKIPPED
from common.runner.run_state import RunState
from common.runner.scheduling.task import Task, names

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 15.0
"""Seconds between two lines about a run."""
_SECONDS_BETWEEN_BARS = 1.0
"""Seconds between two pictures of the plan's bar, if no run ends."""
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} runs [{elapsed}{postfix}]"


@dataclass
class _UnderWay:
    """Runs of a slot that are being made."""

    name: str
    unit: str
    first: int
    """Number of units that were done when they were first heard of."""
    total: int
    num_runs: int
    bar: tqdm[Any] | None
    started: float
    said_at: float
    """Time of the last line."""
    done: int = 0
    doing: str = ""
    """Score, and what is being done within the present unit."""

    def in_runs(self, units: int) -> float:
        """Return what so many units of each run are of whole runs."""
        return self.num_runs * units / self.total if self.total else 0.0

    def told(self) -> str:
        """Return name, position, speed, score and what is being done, and the time left."""
        position = f"{self.name}: {self.unit} {self.done} of {self.total}"
        parts = [position if self.total else f"{self.name}: begins"]
        made, seconds = self.done - self.first, time.monotonic() - self.started
        if made > 0 and seconds > 0:
            parts.append(_speed(made / seconds, self.unit))
        parts += [self.doing] if self.doing else []
        if made > 0:
            parts.append(_left((self.total - self.done) * seconds / made))
        return ", ".join(parts)


def _speed(per_second: float, unit: str) -> str:
    if per_second >= 1:
        return f"{per_second:.3g} {unit}s per second"
    return f"{1 / per_second:.3g} seconds per {unit}"


def _left(seconds: float) -> str:
    return f"about {tqdm.format_interval(seconds)} left"


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
            bar_format=_BAR,
            disable=not self._bars_shown,
        )
        self._num_runs = len(states)
        self._counts = Counter(states)
        """Number of runs in each state, of those that had ended before or have ended since."""
        self._num_made = 0
        """Number of runs that were made since and have ended."""
        self._under_way: dict[str, _UnderWay] = {}
        """Slots by the folder of their first run."""
        self._started = self._shown_at = time.monotonic()

    def progress(self, tasks: Sequence[Task], done: int, total: int, doing: str = "") -> None:
        """Show the progress of a slot's runs, with their score and what is being done."""
        first = tasks[0]
        if first.config["disable_console_log"]:
            return
        known = first.folder in self._under_way
        slot = self._under_way[first.folder] if known else self._new(tasks, done, total)
        is_within = known and done == slot.done
        slot.done, slot.total, slot.doing = done, total, doing
        if slot.bar is not None:
            slot.bar.total = total
            slot.bar.set_postfix_str(doing, refresh=False)
            slot.bar.update(done - slot.bar.n)
            if is_within:
                slot.bar.refresh()
            self._show_plan()
        elif not self._quiet and time.monotonic() - slot.said_at >= _SECONDS_BETWEEN_LINES:
            slot.said_at = time.monotonic()
            log.info("%s", slot.told())

    def _new(self, tasks: Sequence[Task], done: int, total: int) -> _UnderWay:
        """Take up a slot; its first line comes after a while, when there is a speed to tell."""
        first, name, bar = tasks[0], names(tasks), None
        if self._bars_shown:
            bar = tqdm(total=total, initial=done, desc=f"  {name}", unit=first.unit, leave=False)
        now = time.monotonic()
        slot = _UnderWay(name, first.unit, done, total, len(tasks), bar, now, now)
        self._under_way[first.folder] = slot
        return slot

    def _show_plan(self) -> None:
        """Draw the plan's bar again, unless it was drawn a moment ago."""
        now = time.monotonic()
        if now - self._shown_at >= _SECONDS_BETWEEN_BARS:
            self._shown_at = now
            self._runs.set_postfix_str(self._told(), refresh=True)

    def _told(self) -> str:
        """Return the number of runs done, failed and left, and the time left if it is known."""
        done, failed = self._num_done_and_failed()
        counts = f"{done} done, {failed} failed, {self._num_runs - done - failed} left"
        seconds = self._seconds_left()
        return counts if seconds is None else f"{counts}, {_left(seconds)}"

    def _num_done_and_failed(self) -> tuple[int, int]:
        return self._counts[DONE], self._counts[FAILED] + self._counts[SKIPPED]

    def _seconds_left(self) -> float | None:
        """Return the time that the runs left take at the speed so far; None before it is known.

        Runs count alike, and those under way by the shares of them that are done and made.
        """
        done, failed = self._num_done_and_failed()
        slots = self._under_way.values()
        num_left = self._num_runs - done - failed - sum(slot.in_runs(slot.done) for slot in slots)
        num_made = self._num_made + sum(slot.in_runs(slot.done - slot.first) for slot in slots)
        if num_made <= 0 or num_left <= 0:
            return None
        return (time.monotonic() - self._started) * num_left / num_made

    def ended(self, run: Run, state: RunState) -> None:
        """Show that a run has ended."""
        slot = self._under_way.pop(str(run.folder.absolute()), None)
        if slot is not None and slot.bar is not None:
            slot.bar.close()
        self._counts[state.state] += 1
        self._num_made += state.state != SKIPPED
        told = self._told()
        if self._bars_shown:
            self._runs.set_postfix_str(told, refresh=False)
            self._runs.update(sum(self._num_done_and_failed()) - self._runs.n)
        if state.state != DONE:
            level = logging.WARNING
        elif self._quiet or run.config.disable_console_log:
            level = logging.DEBUG
        else:
            level = logging.INFO
        reason = f", {state.reason}" if state.reason else ""
        log.log(level, "%s: %s%s (%s)", run.name, state.state, reason, told)

    def close(self) -> None:
        """Remove the bars."""
        bars = [slot.bar for slot in self._under_way.values() if slot.bar is not None]
        for bar in [*bars, self._runs]:
            bar.close()
