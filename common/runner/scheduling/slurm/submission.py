"""Submissions to a SLURM queue, recorded in the plan's folder before and after they are made.

A submission is one array of jobs, or a single job. Its folder holds its record, the submitted
script and functions, and the logs of the jobs. Its name is the jobs' name, so that jobs are found
whose number a killed runner could not record.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from common.errors import UserError
from common.files.fsync import make_folder, sync_folder
from common.run.folder import PlanFolder, RunFolder, read_record, write_json
from common.run.status import DONE, FAILED
from common.runner.scheduling.slurm.commands import QueuedJob

_RECORD = "submission.json"
_ARRIVAL = 30.0
"""Seconds within which an ``sbatch`` that outlived its runner has reached the queue."""


class _Record(TypedDict, total=False):
    runs: list[list[str]]
    """For each job, its runs' folders relative to the plan's."""
    job_id: str


_SCHEMA = TypeAdapter(_Record)


@dataclass(frozen=True)
class Submission:
    """A submission, with the runs of each job."""

    plan: PlanFolder
    name: str
    runs: Sequence[Sequence[Path]]
    """Folders of the runs of each job, resolved."""
    job_id: str | None = None
    """Number of the array or the single job; None before it is known."""

    @classmethod
    def new(cls, plan: PlanFolder, runs: Sequence[Sequence[Path]]) -> Submission:
        """Record a submission that is about to be made."""
        name = f"{plan.path.name}-{uuid.uuid4().hex[:8]}"
        submission = cls(plan, name, runs)
        make_folder(submission.path)
        submission.write()
        return submission

    @property
    def path(self) -> Path:
        """Path of its folder."""
        return _place(self.plan) / self.name

    def write(self) -> None:
        """Write its record durably."""
        runs = [
            [os.path.relpath(run, self.plan.path.resolve()) for run in group] for group in self.runs
        ]
        record = {"runs": runs} | ({"job_id": self.job_id} if self.job_id else {})
        write_json(self.path / _RECORD, record)
        sync_folder(self.path)

    def job_ids(self) -> list[str]:
        """Return the id of each job; none if its number is unknown."""
        if self.job_id is None:
            return []
        if len(self.runs) == 1:
            return [self.job_id]
        return [f"{self.job_id}_{index}" for index in range(len(self.runs))]

    def found_in(self, queue: Mapping[str, QueuedJob]) -> Submission:
        """Return the submission with the number that jobs of its name have in the queue."""
        if self.job_id is not None:
            return self
        ids = (job.array_id for job in queue.values() if job.name == self.name)
        return Submission(self.plan, self.name, self.runs, next(ids, None))

    @property
    def may_arrive(self) -> bool:
        """True if a runner is about to make it, or was so a moment ago, when it was killed."""
        return self.job_id is None and time.time() - _written(self.path / _RECORD) < _ARRIVAL

    def is_whole(self, job_id: str) -> bool:
        """Return whether the job will find its function, which is written after its submission."""
        return (self.path / f"{job_id}_submitted.pkl").exists()

    def is_open(self, runs: Iterable[Path]) -> bool:
        """Return whether some of the runs may still need the submission's files."""
        return any(RunFolder(run).read_status().get("status") not in (DONE, FAILED) for run in runs)

    def last_words(self, job_id: str) -> str:
        """Return the last line of the job's log; empty if there is none."""
        lines = (
            line
            for log in self._logs(job_id)
            for line in log.read_text(errors="replace").split("\n")
        )
        return next((line.strip() for line in reversed(list(lines)) if line.strip()), "")

    def has_begun(self, job_id: str) -> bool:
        """Return whether a node has begun the job."""
        return any(self._logs(job_id))

    def _logs(self, job_id: str) -> list[Path]:
        return [*self.path.glob(f"{job_id}_0_log.out"), *self.path.glob(f"{job_id}_0_log.err")]

    def close(self) -> None:
        """Remove what no job needs any more; logs stay if some run is not done."""
        folders = [RunFolder(run) for runs in self.runs for run in runs]
        if all(folder.read_status().get("status") == DONE for folder in folders):
            self.remove()
            return
        for path in [self.path / _RECORD, *self.path.glob("*.pkl"), *self.path.glob(".*.sh")]:
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all its files."""
        shutil.rmtree(self.path, ignore_errors=True)


def _place(plan: PlanFolder) -> Path:
    """Return the folder of a plan's submissions."""
    return plan.path / "slurm"


def _written(path: Path) -> float:
    """Return the time of the file's last change; 0 if it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def submissions(plan: PlanFolder, *, but: Collection[str] = ()) -> Iterator[Submission]:
    """Yield the recorded submissions of a plan, the oldest first, but for those of some names."""
    records = sorted(_place(plan).glob(f"*/{_RECORD}"), key=_written)
    for path in records:
        if path.parent.name in but:
            continue
        try:
            record = read_record(path, _SCHEMA) or {}
        except UserError:
            record = {}
        runs = [
            [(plan.path.resolve() / run).resolve() for run in group]
            for group in record.get("runs", [])
        ]
        if runs:
            yield Submission(plan, path.parent.name, runs, record.get("job_id"))


def queued_runs(plan: PlanFolder, queue: Mapping[str, QueuedJob]) -> dict[Path, QueuedJob]:
    """Return the plan's runs in the queue, by folder."""
    found: dict[Path, QueuedJob] = {}
    for recorded in submissions(plan):
        submission = recorded.found_in(queue)
        for job_id, runs in zip(submission.job_ids(), submission.runs, strict=False):
            if job_id in queue:
                found.update(dict.fromkeys(runs, queue[job_id]))
    return found
