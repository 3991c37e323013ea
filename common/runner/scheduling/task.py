"""A run as a scheduler sees it: everything a process needs to make it, as plain values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from common.config.resolve import resolve
from common.config.run import RunConfig
from common.registry import import_part


@dataclass(frozen=True)
class Task:
    """One run, its references resolved, ready to be attempted by any process."""

    name: str
    fingerprint: str
    folder: str
    run: str
    """Import path of the experiment's function."""
    run_together: str | None
    """Import path of its function for several runs at once, if there is one."""
    config_model: str
    """Import path of its configuration model."""
    config: dict[str, Any]
    unit: str
    """What its progress counts."""
    threads: int
    """Threads to compute with, unless an earlier attempt has used another number."""
    gpu_ids: tuple[int, ...] = ()
    """GPUs of the run, or of one of its processes, as the plan counts them; empty for the CPU."""
    command: str = ""
    import_from: str = ""
    """Folder of the plan, in which the user's modules are looked for too."""
    num_ranks: int = 1
    """Processes that share the run."""
    rank: int = 0
    """Which of them is meant, counted from 0."""
    rendezvous: str = ""
    """A file by which they find each other."""

    @property
    def device_ids(self) -> tuple[int, ...]:
        """The GPUs as torch counts them in a process that sees them alone."""
        return tuple(range(len(self.gpu_ids)))

    def gpu_id(self, device_id: int) -> int:
        """What the plan calls a GPU that torch counts as ``device_id`` in such a process."""
        return self.gpu_ids[device_id] if device_id < len(self.gpu_ids) else device_id

    def run_config(self) -> RunConfig:
        """The run's keys."""
        config, problems = resolve(import_part(self.config_model), self.config)
        assert isinstance(config, RunConfig), problems
        return config


def names(tasks: Sequence[Task]) -> str:
    """The tasks of one slot, for people."""
    more = f" and {len(tasks) - 1} more" if len(tasks) > 1 else ""
    return tasks[0].name + more


def to_line(tasks: Sequence[Task]) -> str:
    """The tasks of one slot as one line of JSON."""
    return json.dumps([asdict(task) for task in tasks])


def from_line(line: str) -> list[Task]:
    """What `to_line` wrote."""
    return [Task(**{**values, "gpu_ids": tuple(values["gpu_ids"])}) for values in json.loads(line)]
