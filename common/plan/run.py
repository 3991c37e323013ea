"""A plan and its runs, expanded and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.config.executors import Resources
from common.config.run import RunConfig
from common.custom.sources import SourceFile
from common.experiment import Experiment, Reference
from common.plan.config_merge import Layer, Layering
from common.plan.document import PlanDocument
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
    layering: Layering
    """Layers that are merged to ``written``, see `layers`."""
    num_ranks: int = 1
    """Number of processes that share the run."""
    resources: Resources = field(default_factory=Resources)
    """Resources of the run on a cluster."""
    timeout_minutes: float | None = None
    """Time limit of each attempt."""
    references: list[Reference] = field(default_factory=list)
    fingerprint: str = ""
    config_fingerprint: str = ""
    """Fingerprint without users' source files, of earlier stages too."""
    sources: dict[str, SourceFile] = field(default_factory=dict)
    """Source files of users' parts by name, of earlier stages too."""
    folder: Path = Path()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers that are merged to ``written``, the lowest first."""
        return self.layering.of(self.point)

    @property
    def name(self) -> str:
        """Experiment name, with its template filled."""
        return file_name(self.config.experiment_name)

    @property
    def where(self) -> str:
        """Name of its configuration in messages."""
        return f"configurations[{self.configuration}]"

    @property
    def identity(self) -> dict[str, Any]:
        """Fingerprints and hashes of users' source files, as in the folder's status."""
        if not self.sources:
            return {"fingerprint": self.fingerprint}
        return {
            "fingerprint": self.fingerprint,
            "config_fingerprint": self.config_fingerprint,
            "sources": {name: file.sha256 for name, file in self.sources.items()},
        }

    def tag(self, digits: int = 8, fingerprint: str | None = None) -> str:
        """Return the end of the folder's name: digits of the fingerprint, and any repetition.

        ``fingerprint`` is used instead of the run's own, if given.
        """
        repetition = f"-rep{self.repetition}" if self.repetition else ""
        return f"{(fingerprint or self.fingerprint)[:digits]}{repetition}"


@dataclass(frozen=True)
class Plan:
    """A checked plan."""

    source: Path
    document: PlanDocument
    effective: dict[str, Any]
    """Content of the plan file with the command line's changes, itself a plan."""
    runs: list[Run]
    folder: PlanFolder
