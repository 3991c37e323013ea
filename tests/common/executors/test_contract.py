"""Every executor holds the contract."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.common.executors.contract import ExecutorContract, small_disk

__all__ = ["small_disk"]


class TestInProcess(ExecutorContract):
    keys: ClassVar[dict[str, Any]] = {"executor": "local"}


class TestLocal(ExecutorContract):
    keys: ClassVar[dict[str, Any]] = {"multiprocess": True, "num_parallel": 2}
