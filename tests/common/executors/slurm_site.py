"""A real SLURM for tests, if there is one, and what its queue shows."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import time

import psutil

from tests.common.executors.site import Site, num_rows, outcome, wait_for
from tests.conftest import Outcome
from tests.programs import Program
from tests.tools import needs


def _is_there() -> bool:
    """Whether SLURM answers; its client would wait a minute for a missing configuration."""
    configured = os.path.exists(os.environ.get("SLURM_CONF", ""))  # noqa: PTH110
    if not (configured and shutil.which("sbatch") and importlib.util.find_spec("submitit")):
        return False
    return subprocess.run(["sinfo"], capture_output=True).returncode == 0


_PATIENCE = 300.0
"""Seconds for several attempts, each as long as a time limit of SLURM, which counts in minutes."""

needs_slurm = needs(
    "slurm", _is_there(), "needs a SLURM: sbatch, SLURM_CONF and the package submitit"
)


_BUSY = ("Unable to contact", "Socket timed out", "Connection refused")
"""What programs of SLURM say when its controller does not answer in time."""


def ask(*command: str) -> str:
    """What a program of SLURM prints, once the controller has time for it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout
        is_busy = any(words in done.stderr for words in _BUSY)
        assert is_busy and time.monotonic() < deadline, done.stderr
        time.sleep(1.0)


class SlurmSite(Site):
    """A folder with plans whose runs go into the queue."""

    def jobs(self, plan: str) -> dict[str, str]:
        """The states of the plan's jobs in the queue, by id."""
        lines = ask("squeue", "--noheader", "--array", "--format=%i|%T|%j").splitlines()
        found = (line.split("|") for line in lines)
        return {job: state for job, state, name in found if name.startswith(f"{plan}-")}

    def job_of(self, plan: str, name: str) -> str:
        """The id of the job that makes, or made, a run."""
        return str(self.statuses(plan)[name]["job"]).removeprefix("SLURM job ")

    def processes(self, plan: str) -> list[psutil.Process]:
        """The processes of the plan's jobs that start the runs' own."""
        place = str(self.folder(plan))
        commands = ((process, process.info["cmdline"] or []) for process in
                    psutil.process_iter(["cmdline"]))  # fmt: skip
        return [
            process
            for process, words in commands
            if "submitit.core._submit" in words
            and words[-1].startswith(place)
            and words[0] != "srun"
        ]

    def hurry(self, plan: str) -> None:
        """Makes jobs that wait start now."""
        for job, state in self.jobs(plan).items():
            if state == "PENDING":
                subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"],
                               capture_output=True)  # fmt: skip

    def outcome_in_a_hurry(self, runner: Program, plan: str) -> Outcome:
        """How the program ends, without the two minutes that SLURM waits with requeued jobs."""
        deadline = time.monotonic() + _PATIENCE
        while runner.poll() is None and time.monotonic() < deadline:
            self.hurry(plan)
            time.sleep(0.5)
        return outcome(runner)

    def wait_until_gone(self, plan: str) -> None:
        wait_for(lambda: not self.jobs(plan))

    def wait_for_rows(self, plan: str, name: str, rows: int = 2) -> None:
        """Waits until a run has so many rows of metrics."""
        wait_for(lambda: name in self.runs(plan) and num_rows(self.runs(plan)[name]) >= rows)
