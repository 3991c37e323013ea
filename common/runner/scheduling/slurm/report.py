"""Runs in a SLURM queue, as the status report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from common.run.folder import PlanFolder
from common.run.status import DONE, FAILED, QUEUED, RUNNING
from common.runner.scheduling.slurm import commands
from common.runner.scheduling.slurm.commands import QueuedJob, SlurmError
from common.runner.scheduling.slurm.submission import queued_runs, submissions

_BEGUN = ("RUNNING", "COMPLETING", "SUSPENDED")


class QueueReport:
    """Queue with a plan's runs; it is asked once, and only if there are submissions."""

    def __init__(self, plan: PlanFolder) -> None:
        self.problem = ""
        """Message if the queue is not known, else empty."""
        self._jobs: Mapping[Path, QueuedJob] = {}
        if any(True for _ in submissions(plan)):
            try:
                self._jobs = queued_runs(plan, commands.queue())
            except SlurmError as error:
                self.problem = f"runs may be in a SLURM queue, which cannot be asked here: {error}"

    def told(self, folder: Path, state: str, reason: str | None) -> tuple[str, str | None]:
        """Return the state and the reason of a run, given what its folder says."""
        job = (
            self._jobs.get(folder.resolve()) if self._jobs and state not in (DONE, FAILED) else None
        )
        if job is None:
            return state, reason
        is_running = state == RUNNING and job.state in _BEGUN
        return RUNNING if is_running else QUEUED, str(job)
