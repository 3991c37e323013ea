"""Kills at random: of worker processes, of the runner, or of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from tests.drills.watching import UnderWay
from tests.programs import Program

TARGETS = ("worker", "runner", "both")


@dataclass
class Storm:
    """Kills of what makes a plan's runs, at moments and of processes that dice choose."""

    under_way: UnderWay
    targets: Sequence[str] = TARGETS
    least: int = 0
    """Rows of metrics that are written between two kills at least."""
    kills: Counter[str] = field(default_factory=Counter)
    num_commands: int = 0

    def rage(self, num_kills: int, between: Callable[[], None] = lambda: None) -> None:
        """Starts the plan again and again until so many kills have struck, or all is done.

        ``between`` is done while no runner works.
        """
        while self.kills.total() < num_kills:
            runner = self.under_way.start()
            self.num_commands += 1
            while self.kills.total() < num_kills and self.under_way.reaches_work(
                runner, self.least
            ):
                self._strike(runner)
            if runner.poll() == 0:
                return
            runner.kill()
            runner.communicate()
            between()

    def _strike(self, runner: Program) -> None:
        dice, workers = self.under_way.dice, self.under_way.workers()
        target = dice.choice(self.targets)
        if workers:
            own = psutil.Process(runner.pid)
            victims = [dice.choice(workers)] if target == "worker" else [own]
            _kill([*victims, *workers] if target == "both" else victims)
            self.kills[target] += 1
        if target != "worker":
            runner.wait()


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
