"""Plans of toy runs, read from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError
from common.experiment import EXPERIMENTS
from common.plan import Plan, load_plan
from tests.conftest import TOY


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
