"""What is loaded by commands that only look, and before a first epoch: start-up costs imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT, TINY_DIGITS

_PROGRAM = """
import sys
import run_plan
status = run_plan.main(sys.argv[1:])
print("loaded:", *sys.modules)
sys.exit(status)
"""
HEAVY = {"torch", "numpy", "pandas", "matplotlib", "sklearn", "scipy", "transformers"}
COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}


def loaded(folder: Path, *arguments: str, program: str = _PROGRAM) -> set[str]:
    """Return the modules that a command has loaded at its end."""
    if "--help" in arguments:  # it ends the program
        program = (
            f"import atexit, sys\natexit.register(lambda: print('loaded:', *sys.modules))\n"
            f"{_PROGRAM}"
        )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(PROJECT), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("loaded:")]
    return set(line.split()[1:])


def written(folder: Path, **document: object) -> str:
    path = folder / "plan.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_help_loads_no_library_and_no_experiment(tmp_path: Path) -> None:
    found = loaded(tmp_path, "--help")
    assert not found & HEAVY
    assert not found & {"sft_vs_rft.catalogue", "grue.experiments", "grue.metrics"}


def test_a_dry_run_loads_the_keys_of_its_own_experiment(tmp_path: Path) -> None:
    plan = written(tmp_path, configurations=[{"base_config": TINY_DIGITS}])
    found = loaded(tmp_path, "--plan_config_path", plan, "--dry_run")
    assert "sft_vs_rft.config" in found
    assert not found & (HEAVY | {"grue.experiments", "grue.metrics", "grue.tasks"})


def test_a_dry_run_of_text_loads_numpy_at_most(tmp_path: Path) -> None:
    plan = PROJECT / "experiment_plans/quickstart/text.json"
    found = loaded(tmp_path, "--plan_config_path", str(plan), "--dry_run")
    assert "grue.experiments.finetune.config" in found
    assert not found & (HEAVY - {"numpy"})


_CHECKING = """
import sys
from pathlib import Path
from common.plan.load import load_plan
from grue.experiments.preflight.check import check
from run_plan import EXPERIMENTS
runs = load_plan(Path(sys.argv[1]), EXPERIMENTS).runs
assert check([run for run in runs if run.name == "ppo"][:1]) == []
print("loaded:", *sys.modules)
"""


@pytest.mark.slow
def test_checking_a_run_of_reinforcement_loads_no_trainer_of_transformers(tmp_path: Path) -> None:
    """It takes as long as all else that the check loads."""
    plan = PROJECT / "experiment_plans/quickstart/increasing_numbers_gpt2.json"
    found = loaded(tmp_path, str(plan), program=_CHECKING)
    assert "grue.algorithms.optimizer_keys" in found
    assert not found & {"transformers.trainer", "accelerate", "datasets"}


@pytest.mark.parametrize("optimizer", [pytest.param("sgd", marks=pytest.mark.slow), "adam"])
def test_a_run_on_digits_loads_no_compiler_and_no_scikit_learn(
    tmp_path: Path, optimizer: str
) -> None:
    keys = {**TINY_DIGITS, "num_train_samples": 60, "optimizer": optimizer}
    plan = written(tmp_path, configurations=[{"base_config": keys}])
    found = loaded(tmp_path, "--plan_config_path", plan)
    assert "torch" in found
    assert not found & (COMPILER | {"sklearn", "scipy", "grue.experiments", "transformers"})
