"""Keys of executors, which make a plan's runs on this machine or a cluster, and runs' resources."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict

from common.config.base import Config

_Count = Annotated[int, Field(gt=0)]
_Amount = Annotated[float, Field(gt=0)]


class Resources(Config):
    """Resources of a run beyond its GPUs, as clusters count them."""

    cpus: _Count | None = None
    """Number of CPU cores; None for the number of threads."""
    memory_gb: _Amount | None = None
    """Memory in GiB; None for the cluster's default."""
    gpus: _Amount | None = None
    """Number of GPUs of each process, or under Ray a share of one, as in 0.5; None for one if the
    run uses GPUs."""
    custom: dict[str, _Amount] = Field(default_factory=dict)
    """Amounts of Ray's custom resources by name."""


class LocalKeys(Config):
    """Keys of the executor of this machine."""

    id: Literal["local"] = "local"
    """Executor of this machine: this process, or worker processes, with the listed GPUs."""


class SlurmKeys(Config):
    """Keys of the executor that puts runs into a SLURM queue."""

    id: Literal["slurm"]
    """Executor that puts runs into a SLURM queue, from a node that may submit jobs."""
    partition: str | None = None
    """Partition; None for the cluster's default."""
    account: str | None = None
    """Account that pays."""
    constraint: str | None = None
    """Features that nodes must have, as in ``"a100|h100"``."""
    gres: str | None = None
    """Generic resources of a job, as in ``"gpu:h100:1"``; None for as many GPUs as it needs."""
    time_minutes: _Count | None = None
    """Time limit of a job in minutes; None for the partition's. A run that is longer writes a
    checkpoint before it and is put into the queue again."""
    setup: Annotated[tuple[str, ...], Strict(False)] = ()
    """Lines of shell before a run starts, such as ``module load cuda``."""
    parameters: dict[str, str | int] = Field(default_factory=dict)
    """Other parameters of ``sbatch`` by name, as in ``{"qos": "long"}``."""


class RayKeys(Config):
    """Keys of the executor that makes runs as tasks of a Ray cluster."""

    id: Literal["ray"]
    """Executor that makes each run as a task of a Ray cluster with a shared file system."""
    address: str = "auto"
    """Address of the cluster; ``auto`` for the one that this machine belongs to."""


def named(value: Any) -> Any:
    """Return the executor that is given by its id alone as an object with that."""
    return {"id": value} if isinstance(value, str) else value


AnyExecutor = Annotated[LocalKeys | SlurmKeys | RayKeys, Field(discriminator="id")]
EXECUTOR_IDS = ("local", "slurm", "ray")
ExecutorKeys = Annotated[
    AnyExecutor,
    BeforeValidator(named, json_schema_input_type=Literal["local", "slurm", "ray"] | AnyExecutor),
]
"""Executor of a plan: an id, or an object with the id and the executor's keys."""
