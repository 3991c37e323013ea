"""Labelled inputs that runs, and the runs whose models they began with, were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.key_paths import value_at
from common.run.folder import RunFolder, read_json, read_json_lines
from plots.runs import Run

LABELS = "elapsed/labels"
"""Metric of the labelled inputs that a run's updates read."""
_MODEL_KEYS = ("alg.policy.args.model_name", "alg.model_name")


def labels_used(runs: Sequence[Run]) -> dict[Path, int]:
    """Return the labelled inputs by each run's path, without those of stages that all share.

    A stage is found by its model's folder, in the place that the configuration says or, if the
    folders were moved, beside the run.
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
    found: dict[Path, int] = {}
    stage: Path | None = path
    while stage is not None and stage.resolve() not in found:
        found[stage.resolve()] = _labels(RunFolder(stage))
        stage = _before(stage, config)
        config = read_json(RunFolder(stage).config) if stage is not None else {}
    return found


def _before(path: Path, config: Mapping[str, Any]) -> Path | None:
    """Return the folder of the run whose model a run began with; None if no run made it."""
    models = [value_at(config, key, None) for key in _MODEL_KEYS]
    folders = [Path(model).parent for model in models if isinstance(model, str)]
    places = [place for folder in folders for place in (folder, path.parent / folder.name)]
    return next((place for place in places if RunFolder(place).config.exists()), None)


def _labels(folder: RunFolder) -> int:
    rows = read_json_lines(folder.metrics) if folder.metrics.exists() else []
    return int(max((row.get(LABELS, 0) for row in rows), default=0))
