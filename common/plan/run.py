"""A plan and its runs, expanded and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.config.run import RunConfig
from common.experiment import Experiment, Reference
from common.plan.document import PlanDocument
from common.plan.layers import Layer
from common.plan.templates import file_name
from common.run.folder import PlanFolder


@dataclass(eq=False)
class Run:
    """One run of a plan; ``fingerprint`` and ``folder`` are set after its references."""

    experiment: str
    spec: Experiment
    stage: str | None
    configuration: int
    repetition: int
    written: dict[str, Any]
    """Keys that the plan writes, with templates filled."""
    point: dict[str, Any]
    """Part of ``written`` that options and seeds assign."""
    config: RunConfig
    layers: tuple[Layer, ...] = ()
    """Layers of which ``written`` is merged, the lowest first."""
    num_ranks: int = 1
    """Number of processes that share the run."""
    references: list[Reference] = field(default_factory=list)
    fingerprint: str = ""
    folder: Path = Path()

    @property
    def name(self) -> str:
        """Experiment name, with its template filled."""
        return file_name(self.config.experiment_name)

    @property
    def where(self) -> str:
        """Name of its configuration in messages."""
        return f"configurations[{self.configuration}]"

    def tag(self, digits: int = 8) -> str:
        """Return the end of the folder's name: digits of the fingerprint, and any repetition."""
        repetition = f"-rep{self.repetition}" if self.repetition else ""
        return f"{self.fingerprint[:digits]}{repetition}"


@dataclass(frozen=True)
class Plan:
    """A checked plan."""

    source: Path
    document: PlanDocument
    effective: dict[str, Any]
    """Content of the plan file with the command line's changes, itself a plan."""
    runs: list[Run]
    folder: PlanFolder
