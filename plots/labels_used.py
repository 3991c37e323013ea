"""Labelled inputs that runs, and the runs whose models they began with, were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.run.folder import RunFolder, read_json_lines
from plots.finetuning.lineage import stages_before
from plots.runs import Run

LABELS = "elapsed/labels"
"""Metric of the labelled inputs that a run's updates read."""


def labels_used(runs: Sequence[Run]) -> dict[Path, int]:
    """Return the labelled inputs by each run's path, without those of stages that all share.

    `stages_before` says which stages those are.
    """
    by_run = {run.path: _by_stage(run.path, run.config) for run in runs}
    shared = set.intersection(*(set(by_stage) for by_stage in by_run.values()))
    return {
        path: sum(
            count
            for stage, count in by_stage.items()
            if stage not in shared or stage == path.resolve()
        )
        for path, by_stage in by_run.items()
    }


def _by_stage(path: Path, config: Mapping[str, Any]) -> dict[Path, int]:
    """Return the labelled inputs of a run and of each stage before it, by their folders."""
    stages = [path, *(before for before, _ in stages_before(path, config))]
    return {stage.resolve(): _labels(RunFolder(stage)) for stage in stages}


def _labels(folder: RunFolder) -> int:
    rows = read_json_lines(folder.metrics) if folder.metrics.exists() else []
    return int(max((row.get(LABELS, 0) for row in rows), default=0))
