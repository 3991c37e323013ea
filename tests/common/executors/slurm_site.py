"""A real SLURM for tests, if there is one, and what its queue shows."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.common.executors.site import Site, num_rows, wait_for

_MISSING = "needs a SLURM: sbatch, SLURM_CONF and the package submitit"
HAS_SLURM = bool(
    shutil.which("sbatch")
    and os.environ.get("SLURM_CONF")
    and importlib.util.find_spec("submitit")
    and subprocess.run(["sinfo"], capture_output=True).returncode == 0
)
needs_slurm = pytest.mark.skipif(not HAS_SLURM, reason=_MISSING)


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class SlurmSite(Site):
    """A folder with plans whose runs go into the queue."""

    def jobs(self, plan: str) -> dict[str, str]:
        """The states of the plan's jobs in the queue, by id."""
        lines = ask("squeue", "--noheader", "--array", "--format=%i|%T|%j").splitlines()
        found = (line.split("|") for line in lines)
        return {job: state for job, state, name in found if name.startswith(f"{plan}-")}

    def wait_until_gone(self, plan: str) -> None:
        wait_for(lambda: not self.jobs(plan))

    def wait_for_rows(self, plan: str, rows: int) -> None:
        """Waits until some run of the plan has so many rows of metrics."""
        wait_for(lambda: any(num_rows(run) >= rows for run in self.runs(plan).values()))

    def logs(self, plan: str) -> list[Path]:
        return sorted((self.folder(plan) / "slurm").rglob("*_log.*"))

    def attempts(self, plan: str) -> dict[str, int]:
        return {name: status["attempt"] for name, status in self.statuses(plan).items()}


def tell_slurm_to_start_now(job: str) -> None:
    """Lets a requeued job start without the two minutes that SLURM waits."""
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], capture_output=True)


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path
