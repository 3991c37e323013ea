"""Labelled inputs that runs, and the runs whose models they began with, were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.run.folder import RunFolder, read_json_lines
from plots.finetuning.lineage import stages_before
from plots.runs import Run
from plots.variants import kind

LABELS = "elapsed/labels"
"""Metric of the labelled inputs that a run's updates read."""


def labels_used(runs: Sequence[Run]) -> dict[Path, int]:
    """Return the labelled inputs by each run's path, without those of stages that all share.

    `stages_before` says which stages those are. Stages that differ in seeds alone count as one.
    """
    before = {
        run.path: [
            (kind(config), _labels(stage)) for stage, config in stages_before(run.path, run.config)
        ]
        for run in runs
    }
    shared = set.intersection(*({name for name, _ in stages} for stages in before.values()))
    return {
        path: _labels(path) + sum(count for name, count in stages if name not in shared)
        for path, stages in before.items()
    }


def _labels(path: Path) -> int:
    metrics = RunFolder(path).metrics
    rows = read_json_lines(metrics) if metrics.exists() else []
    return int(max((row.get(LABELS, 0) for row in rows), default=0))
