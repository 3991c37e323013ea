"""Runs in a SLURM queue: the contract, and what is SLURM's alone."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.common.executors.contract import ExecutorContract, small_disk
from tests.common.executors.slurm_site import needs_slurm

__all__ = ["small_disk"]


@needs_slurm
class TestSlurm(ExecutorContract):
    keys: ClassVar[dict[str, Any]] = {"executor": "slurm"}
