"""A run as a scheduler sees it: everything a process needs to make it, as plain values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One run, its references resolved, ready to be attempted by any process."""

    name: str
    fingerprint: str
    folder: str
    run: str
    """Import path of the experiment's function."""
    config_model: str
    """Import path of its configuration model."""
    config: dict[str, Any]
    threads: int
    """Threads to compute with, unless an earlier attempt has used another number."""
    device_ids: tuple[int, ...] = ()
    """GPUs as torch counts them in the process of the run; empty for the CPU."""
    command: str = ""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(line: str) -> Task:
        """What `to_json` wrote."""
        values = json.loads(line)
        return Task(**{**values, "device_ids": tuple(values["device_ids"])})
