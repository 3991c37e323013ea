"""SLURM's command-line programs: the queue, the partitions, refusals, cancelling, requeueing."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_PATIENCE = 60.0
"""Seconds in which SLURM has to answer."""
_MOST_IDS = 500
"""Largest number of jobs that one command names, because a command line has a limit."""
_UNKNOWN = "nvalid job id"
UNLIMITED = float("inf")


class SlurmError(Exception):
    """Error of a program of SLURM, with its message; it says nothing about any job."""


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue, waiting or running."""

    id: str
    """Its number, with its index if it is an element of an array, as in ``12_3``."""
    state: str
    """State as SLURM calls it, such as ``PENDING``."""
    reason: str
    """Cause of its waiting, such as ``Resources``."""
    name: str

    @property
    def array_id(self) -> str:
        """Number without the index."""
        return self.id.partition("_")[0]

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason not in ("", "None") else ""
        return f"SLURM job {self.id}: {self.state}{why}"


def queue() -> Mapping[str, QueuedJob]:
    """Return this user's jobs in the queue, by id.

    Raises:
        SlurmError: SLURM does not answer.
    """
    listed = _ask("squeue", "--noheader", "--array", f"--user={os.getuid()}",
                  "--format=%i|%T|%r|%j")  # fmt: skip
    jobs = [QueuedJob(*line.split("|", 3)) for line in listed.splitlines() if line.count("|") >= 3]
    return {job.id: job for job in jobs}


def state_of(job_id: str) -> str:
    """Return the state of a job that may have ended a moment ago; empty if it is forgotten."""
    try:
        return _details(job_id).get("JobState", "")
    except SlurmError:
        return ""


def is_wanted(job_id: str) -> bool:
    """Return whether a job that is asked to end is wanted on: nobody has cancelled it.

    SLURM calls a job that is being ended ``COMPLETING``, whatever the cause is.

    Raises:
        SlurmError: SLURM does not answer.
    """
    known = _details(job_id)
    ended_by_time = _minutes(known["RunTime"]) >= _minutes(known["TimeLimit"])
    return known["JobState"] == "RUNNING" or ended_by_time


def _details(job_id: str) -> Mapping[str, str]:
    listed = _ask("scontrol", "--oneliner", "show", "job", job_id)
    return dict(re.findall(r"(\w+)=(\S*)", listed))


def cancel(job_ids: Iterable[str], *options: str) -> None:
    """Cancel the jobs, or do with them what ``scancel`` does with the options.

    Jobs that have ended, or that the options leave out, are ignored.

    Raises:
        SlurmError: SLURM does not answer.
    """
    ids = list(job_ids)
    for first in range(0, len(ids), _MOST_IDS):
        try:
            _ask("scancel", *options, *ids[first : first + _MOST_IDS])
        except SlurmError as error:
            if _UNKNOWN not in str(error):
                raise


def cancel_named(name: str) -> None:
    """Cancel all jobs of a name.

    Raises:
        SlurmError: SLURM does not answer.
    """
    _ask("scancel", f"--name={name}")


def requeue(job_id: str) -> None:
    """Put a running or ended job into the queue again.

    Raises:
        SlurmError: SLURM refuses.
    """
    _ask("scontrol", "requeue", job_id)


@dataclass(frozen=True)
class Partition:
    """Time limits of a partition in minutes; ``UNLIMITED`` for none."""

    most: float
    usual: float
    """Limit of jobs that name none."""


def partitions() -> Mapping[str, Partition]:
    """Return the cluster's partitions by name.

    Raises:
        SlurmError: SLURM does not answer.
    """
    lines = _ask("sinfo", "--noheader", "--format=%R|%l|%L").split()
    found = {}
    for name, most, usual in (line.split("|") for line in lines):
        found[name] = Partition(_minutes(most), _minutes(most if usual == "n/a" else usual))
    return found


def default_partition() -> str | None:
    """Return the partition of jobs that name none; None if they need to.

    Raises:
        SlurmError: SLURM does not answer.
    """
    names = _ask("sinfo", "--noheader", "--format=%P").split()
    return next((name[:-1] for name in names if name.endswith("*")), None)


def largest_array() -> int:
    """Return the largest number of jobs in an array.

    Raises:
        SlurmError: SLURM does not answer.
    """
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"))
    return max(1, int(found[1])) if found else 1


def refusal(flags: Sequence[str]) -> str:
    """Return why ``sbatch`` would refuse a job with these flags; empty if it would take it."""
    try:
        _ask("sbatch", "--test-only", *flags, "--wrap=true")
    except SlurmError as error:
        return str(error)
    return ""


def _minutes(limit: str) -> float:
    """Return the minutes in ``days-hours:minutes:seconds``, of which the first may lack."""
    if not limit[:1].isdecimal():  # infinite
        return UNLIMITED
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    seconds: int = sum(part * 60**place for place, part in enumerate(reversed(parts)))
    return int(days or 0) * 24 * 60 + seconds / 60


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE,
                              stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} does not answer") from None
    except OSError as error:
        raise SlurmError(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        told = [line.removeprefix(f"{command[0]}: ").removeprefix("error: ")
                for line in done.stderr.splitlines() if line.strip()]  # fmt: skip
        raise SlurmError("; ".join(dict.fromkeys(told)) or f"{command[0]} failed")
    return done.stdout
