"""The README's tables and blocks of code hold what they say."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, get_args

import pytest

from common.registry import Registry
from grue.algorithms.config import Compatibility
from grue.metrics import METRICS
from grue.rewards import REWARDS
from grue.runs.compatibility import OfSupervised
from tests.conftest import PROJECT, Workplace

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """The text from a heading to the next one."""
    _, _, rest = README.partition(f"\n### {heading}\n")
    assert rest
    return re.split(r"\n##+ ", rest)[0]


@pytest.mark.parametrize(
    ("column", "registry"), [(1, REWARDS), (2, METRICS)], ids=["rewards", "metrics"]
)
def test_the_table_of_rewards_and_metrics_names_each_once(
    column: int, registry: Registry[Any]
) -> None:
    rows = [line.split("|") for line in section("Rewards and metrics").splitlines()
            if line.startswith("| `")][1:]  # fmt: skip
    found = [name for row in rows for name in re.findall("`([^`]+)`", row[column])]
    assert sorted(found) == sorted(registry.names())


def test_the_page_on_differences_names_each_behaviour_that_can_be_brought_back() -> None:
    page = (PROJECT / "experiment_plans/DIFFERENCES.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    known = {*get_args(Compatibility), *get_args(get_args(get_args(OfSupervised)[0])[0])}
    assert sorted([*found, "rl4lms"]) == sorted(known)


def test_the_experiment_of_the_readme_runs_as_it_is_written(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = section("Add an experiment")
    (code,) = re.findall(r"```python\n# (?:line\.py)\n(.*?)```", text, re.DOTALL)
    (plan,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (workplace.path / "line.py").write_text(code)
    monkeypatch.delitem(sys.modules, "line", raising=False)
    outcome = workplace.run_plan(workplace.write_plan(**json.loads(plan)))
    assert outcome.status == 0, outcome.err
    scores = [json.loads(folder.summary.read_text())["score"] for folder in workplace.folders()]
    assert len(scores) == 2
    assert min(scores) < 0.1
