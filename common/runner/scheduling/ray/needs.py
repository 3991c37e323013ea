"""Needs of runs, and what nodes have, as Ray counts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.runner.scheduling.task import Task

OWN_NAMES = ("CPU", "GPU", "memory", "object_store_memory")
"""Names of resources that Ray itself has."""
_GIBI = 2**30


@dataclass(frozen=True)
class Needs:
    """Needs of a run, all of which one node has to meet."""

    cpus: int
    gpus: float = 0.0
    """Number of GPUs, or share of one."""
    memory_gb: float | None = None
    custom: tuple[tuple[str, float], ...] = ()
    """Amounts of custom resources by name."""

    @classmethod
    def of(cls, resources: Mapping[str, Any], *, threads: int, ranks: int, gpus: float) -> Needs:
        """Return the needs of a run with these ``resources``, as in the plan."""
        cpus = resources.get("cpus") or threads * ranks
        custom = tuple(sorted(resources.get("custom", {}).items()))
        return cls(cpus, float(gpus), resources.get("memory_gb"), custom)

    @classmethod
    def of_task(cls, task: Task) -> Needs:
        """Return the needs of a task."""
        each = task.resources.get("gpus")
        gpus = len(task.gpu_ids) if each is None else each * task.num_ranks
        return cls.of(task.resources, threads=task.threads, ranks=task.num_ranks, gpus=gpus)

    @property
    def amounts(self) -> dict[str, float]:
        """Amounts by Ray's names; memory is in bytes."""
        memory = (self.memory_gb or 0) * _GIBI
        found = {"CPU": self.cpus, "GPU": self.gpus, "memory": memory, **dict(self.custom)}
        return {name: amount for name, amount in found.items() if amount}

    def fit(self, totals: Mapping[str, float]) -> bool:
        """Return whether a node with these totals can meet them when nothing else runs there."""
        return all(totals.get(name, 0) >= amount for name, amount in self.amounts.items())

    def __str__(self) -> str:
        return told(self.amounts)


@dataclass(frozen=True)
class Node:
    """A node of the cluster that is alive."""

    address: str
    totals: Mapping[str, float]
    """Amounts of its resources by Ray's names."""

    def __str__(self) -> str:
        return f"{self.address}: {told(self.totals)}"


def told(amounts: Mapping[str, float]) -> str:
    """Return amounts of resources for people."""
    shown = {"CPU": 0.0, "GPU": 0.0, **amounts}
    parts = [
        f"{amount / _GIBI:.3g} GiB" if name == "memory" else f"{amount:g} {name}"
        for name, amount in shown.items()
        if _is_for_people(name)
    ]
    return ", ".join(parts)


def _is_for_people(name: str) -> bool:
    return not name.startswith(("node:", "accelerator_type:")) and name != "object_store_memory"


def nodes_told(nodes: Iterable[Node]) -> str:
    """Return the nodes for people."""
    return "; ".join(map(str, nodes)) or "none"
