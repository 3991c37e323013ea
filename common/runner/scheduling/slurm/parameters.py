"""Parameters of SLURM jobs: what a plan's keys and a run's needs mean for ``sbatch``."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config.executors import SlurmKeys
from common.runner.scheduling.task import Task

_PROJECT = Path(__file__).resolve().parents[4]
_MOST_SECONDS_AHEAD = 300
_PART_AHEAD = 0.2
OWN = ("array", "output", "error", "open-mode", "job-name", "ntasks", "ntasks-per-node", "nodes")
"""Parameters of ``sbatch`` that are not the user's to set."""


@dataclass(frozen=True)
class Needs:
    """Needs of a job; jobs with equal needs make an array."""

    cpus: int
    gpus: int
    memory_gb: float | None

    def __str__(self) -> str:
        memory = "" if self.memory_gb is None else f", {self.memory_gb:g} GiB"
        gpus = f", {self.gpus} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else ""
        return f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}{gpus}{memory}"

    @classmethod
    def of(cls, resources: Mapping[str, Any], *, threads: int, ranks: int, gpus: float) -> Needs:
        """Return the needs of a run with these ``resources``, as in the plan."""
        cpus = resources.get("cpus") or threads * ranks
        return cls(cpus, math.ceil(gpus), resources.get("memory_gb"))

    @classmethod
    def of_task(cls, task: Task) -> Needs:
        """Return the needs of a task."""
        return cls.of(task.resources, threads=task.threads, ranks=task.num_ranks,
                      gpus=len(task.gpu_ids))  # fmt: skip


def sbatch_parameters(keys: SlurmKeys, needs: Needs) -> dict[str, Any]:
    """Return the parameters of ``sbatch`` for a job with the needs, by name."""
    gres = keys.gres or (f"gpu:{needs.gpus}" if needs.gpus else None)
    memory = None if needs.memory_gb is None else f"{math.ceil(1024 * needs.memory_gb)}M"
    found = {
        "partition": keys.partition,
        "account": keys.account,
        "constraint": keys.constraint,
        "gres": gres,
        "time": keys.time_minutes,
        "cpus-per-task": needs.cpus,
        "mem": memory,
        "requeue": True,  # also where the cluster's default is that a lost node ends its jobs
        **{name.replace("_", "-"): value for name, value in keys.parameters.items()},
    }
    return {name: value for name, value in found.items() if value is not None}


def flags(parameters: Mapping[str, Any]) -> list[str]:
    """Return the parameters as flags of a command line."""
    return [f"--{name}" if value is True else f"--{name}={value}"
            for name, value in parameters.items()]  # fmt: skip


def setup_lines(keys: SlurmKeys) -> list[str]:
    """Return the lines of shell before a job's Python starts, which finds this project then."""
    path = shlex.quote(str(_PROJECT))
    return [f"export PYTHONPATH={path}${{PYTHONPATH:+:$PYTHONPATH}}", *keys.setup]


def seconds_ahead(minutes: float) -> int:
    """Return the seconds before a time limit of a job at which it begins to end itself."""
    return int(min(_MOST_SECONDS_AHEAD, _PART_AHEAD * 60 * minutes))
