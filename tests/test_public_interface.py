"""What users' own parts import: present, documented, and free of torch until it is used."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import common
import grue
from tests.conftest import PROJECT

PARTS = ["Task", "Sample", "Reward", "Metric", "Policy", "Algorithm"]
EXPERIMENTS = ["Experiment", "FitExperiment", "FitConfig", "Trainer", "Problem"]


@pytest.mark.parametrize(
    ("package", "name"), [(grue, n) for n in PARTS] + [(common, n) for n in EXPERIMENTS]
)
def test_the_parts_of_users_own_code_are_imported_from_the_packages(
    package: ModuleType, name: str
) -> None:
    found = getattr(package, name)
    assert found.__name__ == name
    assert found.__module__.startswith(package.__name__)


@pytest.mark.parametrize("package", [grue, common])
def test_dir_lists_the_public_names_and_nothing_else(package: ModuleType) -> None:
    names = dir(package)
    assert {"Experiment", "Trainer"} <= set(dir(common))
    assert set(PARTS) <= set(dir(grue))
    assert all(getattr(package, name).__name__ == name for name in names if name != "Split")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'grue' has no attribute 'Rewards'"):
        grue.Rewards  # type: ignore[attr-defined]  # noqa: B018


def test_a_task_and_a_reward_are_imported_without_torch() -> None:
    program = (
        "import sys; from grue import Task, Sample, Reward, Metric; from common import Experiment; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT).returncode == 0
