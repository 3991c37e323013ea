"""Experiments outside the project whose functions do not fit are refused before the first run."""

from __future__ import annotations

from typing import Any

from common.config.run import RunConfig
from common.experiment import Experiment
from tests.conftest import Workplace

_HERE = __name__


def run(config: Any) -> None:
    """Lacks the context."""


def check(runs: Any) -> list[Any]:
    return []


def nothing() -> list[Any]:
    return []


WRONG = Experiment(RunConfig, run=f"{_HERE}:run", preflight=f"{_HERE}:nothing")
LOST = Experiment(RunConfig, run=f"{_HERE}:gone", preflight=f"{_HERE}:check")


def test_wrong_functions_are_shown_with_the_right_ones(workplace: Workplace) -> None:
    names = [f"custom:{_HERE}:{name}" for name in ("WRONG", "LOST")]
    plan = workplace.write_plan(
        configurations=[
            {"experiment": name, "base_config": {"experiment_name": name[-5:]}} for name in names
        ]
    )
    outcome = workplace.run_plan(plan)
    assert outcome.status == 2
    assert workplace.files() == []
    for message in (
        f"'experiment' = '{names[0]}': '{_HERE}:run' takes (config); write def run(config, "
        "context)",
        f"'experiment' = '{names[0]}': '{_HERE}:nothing' takes (); write def nothing(runs)",
        f"'experiment' = '{names[1]}': '{_HERE}:gone' cannot be imported: module",
    ):
        assert message in outcome.err
