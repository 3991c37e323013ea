"""The drills: each makes a plan in trouble, and compares it with one that was left alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.common.executors.site import Site, outcome
from tests.drills import disks
from tests.drills.damage import Vandal
from tests.drills.plans import document
from tests.drills.sameness import differences
from tests.drills.storm import Storm
from tests.drills.watching import UnderWay
from tests.programs import Program
from tests.small_disks import disk_of, read_only

_PLAN = "plan"
_MEGABYTES = 128
_PATIENCE = 3600.0  # seconds, as machines are crowded
_MOST_COMMANDS = 5
"""Commands after the trouble in which all is done."""


@dataclass(frozen=True)
class Size:
    """How large a drill is."""

    controlled: int
    """Seeds of controlled runs, four runs each."""
    text: int
    """Seeds of PPO and extraction, two runs each."""
    length: int
    """How long runs take."""
    workers: int
    """Worker processes of a runner."""
    kills: int
    """Kills of workers and runners."""
    troubles: int
    """Times that a disk or files are in trouble, or that one of several runners is killed."""


@dataclass
class Ground:
    """A folder for drills of one size, and the results of a plan that is left alone."""

    folder: Path
    size: Size
    seed: int = 0
    _is_made: bool = False

    def undisturbed(self) -> Path:
        """The folder of the plan that is left alone; made once."""
        site = Site(self.folder / "undisturbed", patience=_PATIENCE)
        if not self._is_made:
            site.path.mkdir(parents=True, exist_ok=True)
            made = site.run_plan(self._write(site, multiprocess=False))
            assert made.status == 0, made.err
            self._is_made = True
        return site.folder(_PLAN)

    def drill(self, name: str) -> UnderWay:
        """The same plan, not begun, in a folder of its own."""
        site = Site(self.folder / name, patience=_PATIENCE)
        (site.path / "outputs").mkdir(parents=True)
        return UnderWay(site, self._write(site), random.Random(f"{name} {self.seed}"))

    def _write(self, site: Site, **keys: Any) -> Path:
        size = self.size
        keys = {"num_parallel": size.workers, **keys}
        found = document(size.controlled, size.text, length=size.length, **keys)
        return site.write_plan(_PLAN, **found)

    def finish(self, under_way: UnderWay) -> None:
        """Gives the same command until all is done, and compares.

        Raises:
            AssertionError: it is not done, something is half made, or results differ.
        """
        site = under_way.site
        for _ in range(_MOST_COMMANDS):
            ended = site.run_plan(under_way.plan)
            if ended.status == 0:
                break
        assert ended.status == 0, ended.err
        assert set(site.index(_PLAN).values()) == {"done"}, site.index(_PLAN)
        assert site.index(_PLAN).keys() == site.statuses(_PLAN).keys()
        assert site.unfinished(_PLAN) == [], site.unfinished(_PLAN)
        found = differences(site.folder(_PLAN), self.undisturbed())
        assert found == [], found


def kills(ground: Ground) -> str:
    """Workers, the runner, or both are killed at random."""
    under_way = ground.drill("kills")
    storm = Storm(under_way)
    storm.rage(ground.size.kills)
    ground.finish(under_way)
    assert storm.kills.total() == ground.size.kills, storm.kills
    return f"{_told(storm.kills)} in {storm.num_commands} commands"


def damaged_files(ground: Ground) -> str:
    """Between kills, status and metrics are cut, bytes of checkpoints flipped, code put in."""
    under_way = ground.drill("damaged_files")
    site, marker = under_way.site, ground.folder / "executed"
    vandal = Vandal(site, _PLAN, under_way.dice, marker)
    storm = Storm(under_way, targets=("runner", "both"), least=2)
    storm.rage(ground.size.troubles, between=vandal.damage)
    ground.finish(under_way)
    assert not marker.exists(), "code in a checkpoint was executed"
    assert len(vandal.done) == 4, vandal.done
    return _told(vandal.done)


def full_disk(ground: Ground) -> str:
    """The disk is full for a while."""
    under_way = ground.drill("full_disk")
    disk = under_way.site.path / "outputs"
    with disk_of(disk, _MEGABYTES):
        times = disks.starve(under_way, disk, disks.full, ground.size.troubles)
        ground.finish(under_way)
    return f"full in {times} commands"


def read_only_disk(ground: Ground) -> str:
    """The folder turns read-only for a while."""
    under_way = ground.drill("read_only_disk")
    disk = under_way.site.path / "outputs"
    times = disks.starve(under_way, disk, read_only, ground.size.troubles)
    ground.finish(under_way)
    return f"read-only in {times} commands"


def several_runners(ground: Ground) -> str:
    """Two to five runners work on the plan at once, and one of them is killed now and then."""
    under_way = ground.drill("several_runners")
    dice, num_killed = under_way.dice, 0
    runners: list[Program] = []
    most = 0
    while num_killed < ground.size.troubles:
        wanted = dice.randint(2, 5)
        runners += [under_way.start() for _ in range(wanted - len(runners))]
        most = max(most, len(runners))
        if not under_way.reaches_work(runners[0]):
            break
        victim = runners.pop(dice.randrange(len(runners)))
        victim.kill()
        victim.communicate()
        num_killed += 1
    ended = [outcome(runner, _PATIENCE) for runner in runners]
    assert all(end.status == 0 for end in ended), [end.err for end in ended]
    ground.finish(under_way)
    assert num_killed, "all was done before a runner was killed"
    return f"up to {most} runners at once, {num_killed} killed"


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


DRILLS: tuple[Callable[[Ground], str], ...] = (
    kills, damaged_files, full_disk, read_only_disk, several_runners
)  # fmt: skip
