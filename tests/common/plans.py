"""Plans of toy runs: reading them, and what their folders tell."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError
from common.experiment import EXPERIMENTS
from common.plan.base_config_files import with_bases
from common.plan.load import load_plan
from common.plan.run import Plan
from common.run.folder import PlanFolder
from tests.conftest import TOY, Workplace


def whole_base(keys: dict[str, Any], folder: Path) -> Any:
    """The keys that a base config of a plan in ``folder`` means, with those of its files."""
    found = with_bases({"base_config": keys}, folder)
    assert not found.unread
    return found.values["base_config"]


def load(tmp_path: Path, *configurations: Any, overrides: Any = None, **keys: Any) -> Plan:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"experiment": TOY, **keys, "configurations": configurations}))
    return load_plan(path, EXPERIMENTS, overrides=overrides)


def problems_of(tmp_path: Path, *configurations: Any, **keys: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, *configurations, **keys)
    return str(caught.value)


def values(plan: Plan, *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(run.config, key) for key in keys) for run in plan.runs]


def toy(**base: Any) -> dict[str, Any]:
    return {"base_config": {"epochs": 3, "random_seed": 1, **base}}


def index(workplace: Workplace, name: str = "plan") -> dict[str, dict[str, str]]:
    with (workplace.path / f"outputs/exps/{name}/index.csv").open() as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def plan_folder(workplace: Workplace, name: str = "plan") -> PlanFolder:
    return PlanFolder(workplace.path / "outputs/exps" / name)
