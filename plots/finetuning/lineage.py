"""Runs whose models other runs began with or sampled: the stages before a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.key_paths import value_at
from common.run.folder import RunFolder
from plots.runs import json_object

_MODEL_KEYS = ("alg.policy.args.model_name", "alg.model_name")

Config = Mapping[str, Any]


def model_name(config: Config) -> str | None:
    """Return the model that a run began with or sampled; None if its configuration names none."""
    found = (value_at(config, key, None) for key in _MODEL_KEYS)
    return next((name for name in found if isinstance(name, str)), None)


def run_before(path: Path, config: Config) -> Path | None:
    """Return the folder of the run that made a run's model; None if no run made it.

    The folder is found in the place that the configuration says or, if the folders were moved,
    beside the run.
    """
    name = model_name(config)
    if name is None:
        return None
    folder = Path(name).parent
    places = (folder, path.parent / folder.name)
    return next((place for place in places if RunFolder(place).config.exists()), None)


def stages_before(path: Path, config: Config) -> Iterator[tuple[Path, Config]]:
    """Yield folder and configuration of each run before a run, the nearest one first."""
    seen = {path.resolve()}
    before = run_before(path, config)
    while before is not None and before.resolve() not in seen:
        seen.add(before.resolve())
        config = json_object(RunFolder(before).config)
        yield before, config
        before = run_before(before, config)


def model_key(path: Path, config: Config) -> str:
    """Return what two runs with the same model share: its folder's place, or its name."""
    before = run_before(path, config)
    return str(model_name(config)) if before is None else str(before.resolve())
