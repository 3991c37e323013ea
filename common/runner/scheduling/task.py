"""Task of a worker process: everything needed to make a run, as plain values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from common.config.resolve import resolve
from common.config.run import RunConfig
from common.registry import import_part


@dataclass(frozen=True)
class Task:
    """One run, with its references resolved, ready to be attempted by any process."""

    name: str
    identity: dict[str, Any]
    """Identity of the run for the folder's status, see `common.plan.run.Run.identity`."""
    folder: str
    run: str
    """Import path of the experiment's function."""
    run_together: str | None
    """Import path of its function for several runs at once, if there is one."""
    config_model: str
    """Import path of its configuration model."""
    config: dict[str, Any]
    unit: str
    """Unit of its progress."""
    threads: int
    """Number of threads, unless an earlier attempt has used another one."""
    gpu_ids: tuple[int, ...] = ()
    """GPUs of the run, or of one of its processes, as the plan counts them; empty for the CPU."""
    command: str = ""
    import_from: str = ""
    """Folder of the plan, in which users' modules are searched too."""
    num_ranks: int = 1
    """Number of processes that share the run."""
    rank: int = 0
    """Index of this process among them, counted from 0."""
    timeout_seconds: float | None = None
    """Time limit of the attempt."""
    max_attempts: int = 1
    """Number of attempts that may be lost before the run has failed."""
    resources: dict[str, Any] = field(default_factory=dict)
    """Resources on a cluster, the keys of `common.config.executors.Resources`."""
    rendezvous: str = ""
    """Path of the file by which they find each other."""

    @property
    def device_ids(self) -> tuple[int, ...]:
        """GPUs as torch counts them in a process that sees them alone."""
        return tuple(range(len(self.gpu_ids)))

    def gpu_id(self, device_id: int) -> int:
        """Return the plan's number of the GPU that is ``device_id`` in such a process."""
        return self.gpu_ids[device_id] if device_id < len(self.gpu_ids) else device_id

    def run_config(self) -> RunConfig:
        """Return the run's keys."""
        config, problems = resolve(import_part(self.config_model), self.config)
        assert isinstance(config, RunConfig), problems
        return config


def names(tasks: Sequence[Task]) -> str:
    """Return the names of the tasks of one slot, for people."""
    more = f" and {len(tasks) - 1} more" if len(tasks) > 1 else ""
    return tasks[0].name + more


def to_line(tasks: Sequence[Task]) -> str:
    """Return the tasks of one slot as one line of JSON."""
    return json.dumps([asdict(task) for task in tasks])


def from_line(line: str) -> list[Task]:
    """Return the tasks in a line of `to_line`."""
    return [Task(**{**values, "gpu_ids": tuple(values["gpu_ids"])}) for values in json.loads(line)]
