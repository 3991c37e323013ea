"""State of a run of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from common.plan.run import Run
from common.run import status
from common.run.folder import RunFolder
from common.run.written_files import damage


@dataclass(frozen=True)
class RunState:
    """State of a run, by its folder and this program."""

    state: str
    reason: str = ""
    score: float | None = None
    seconds: float | None = None
    attempt: int = 0
    """Number of attempts that have begun."""
    lost: int = 0
    """Number of lost attempts, see `common.runner.scheduling.lost_attempts`."""
    no_space: bool = False
    """True if the run ended because a file did not fit on the disk."""
    is_cancelled: bool = False
    """True if somebody has cancelled its job in a cluster's queue."""
    peak_memory: int | None = None
    """Largest number of bytes that its process has held, if it was measured."""
    peak_gpu_memory: int | None = None
    """Largest number of bytes that torch has held for it on a GPU, if it used any."""
    damage: str | None = None
    """Damage to a run that was done; None if there is none."""


def read_state(run: Run) -> RunState:
    """Return the state of the run in its folder; waiting if the folder is another run's.

    It is running if a living process, here or on another host, holds the folder's lease.
    """
    folder = RunFolder(run.folder)
    found = folder.read_status()
    if found.get("fingerprint") not in (run.fingerprint, run.config_fingerprint):
        return RunState(status.current(folder, {}))
    state = status.current(folder, found)
    return RunState(
        state,
        found.get("reason") or "",
        found.get("score"),
        found.get("seconds"),
        found.get("attempt", 0),
        found.get("lost", 0),
        found.get("no_space", False),
        found.get("cancelled", False),
        found.get("peak_memory"),
        found.get("peak_gpu_memory"),
        damage(folder, found) if state == status.DONE else None,
    )
