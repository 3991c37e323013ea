"""State of a run of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from common.plan.run import Run
from common.run import status
from common.run.folder import RunFolder


@dataclass(frozen=True)
class RunState:
    """State of a run, by its folder and this program."""

    state: str
    reason: str = ""
    score: float | None = None
    seconds: float | None = None
    lost: int = 0
    """Number of lost attempts, see `common.runner.scheduling.lost_attempts`."""
    no_space: bool = False
    """True if the run ended because a file did not fit on the disk."""
    is_cancelled: bool = False
    """True if somebody has cancelled its job in a cluster's queue."""


def read_state(run: Run) -> RunState:
    """Return the state of the run in its folder; waiting if the folder is another run's."""
    found = RunFolder(run.folder).read_status()
    if found.get("fingerprint") not in (run.fingerprint, run.config_fingerprint):
        return RunState(status.WAITING)
    return RunState(
        status.current(found),
        found.get("reason") or "",
        found.get("score"),
        found.get("seconds"),
        found.get("lost", 0),
        found.get("no_space", False),
        found.get("cancelled", False),
    )
