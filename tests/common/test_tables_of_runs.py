"""Tables of runs say what a score measures and which run is which; the best is one of its kind."""

from __future__ import annotations

import re

import pytest

from common.run.folder import read_json
from common.runner.unique_labels import distinguishing
from tests.conftest import TOY, Workplace

SCORED = {"epochs": 2, "score_largest": False}


@pytest.fixture
def shown(workplace: Workplace) -> tuple[str, str, str]:
    """What is shown before, of and after runs of two scores, learning rates and seeds."""
    configurations = [
        {"base_config": {**SCORED, "score_metric_name": "test loss"}, "seeds": [0, 1],
         "options": {"lr": [0.001, 0.3]}},
        {"base_config": {**SCORED, "score_metric_name": "train loss", "random_seed": 0,
                         "experiment_name": "other_{lr}"},
         "options": {"lr": [0.002, 0.2]}},
    ]  # fmt: skip
    plan = workplace.write_plan(experiment=TOY, configurations=configurations)
    before = workplace.run_plan(plan, "--dry_run").out
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0
    return before, outcome.out, workplace.run_plan(plan, "--status").out


def test_tables_show_what_varies_among_runs_of_a_name(shown: tuple[str, str, str]) -> None:
    for table in shown:
        heading, *rows = table.splitlines()
        assert heading.split()[:3] == ["name", "random_seed", "lr"]
        cells = {tuple(row.split()[1:3]) for row in rows if row.startswith("exp ")}
        assert cells == {(seed, lr) for seed in ("0", "1") for lr in ("0.001", "0.3")}


def test_a_score_is_named_and_the_best_is_of_one_score(
    workplace: Workplace, shown: tuple[str, str, str]
) -> None:
    for table in shown[1:]:
        names = re.findall(r"^(exp|other\S*) .* (test loss|train loss) ", table, re.MULTILINE)
        assert sorted(names) == [*4 * [("exp", "test loss")], ("other_0-002", "train loss"),
                                 ("other_0-2", "train loss")]  # fmt: skip
    best = [line for line in shown[1].splitlines() if line.startswith("best: ")]
    assert len(best) == 2
    assert "lr=0.3), mean test loss" in best[0] and "over 2 runs" in best[0]
    assert "lr=0.2), mean train loss" in best[1] and "over 1 run" in best[1]
    names = {read_json(folder.summary)["score_metric_name"] for folder in workplace.folders()}
    assert names == {"test loss", "train loss"}


def test_only_rows_of_an_equal_name_need_to_be_told_apart() -> None:
    rows = [{"lr": 1, "seed": 0}, {"lr": 2, "seed": 0}, {"lr": 2, "seed": 1, "extra": 3}]
    assert distinguishing(["a", "b", "b"], rows) == ["seed", "extra"]
    assert distinguishing(["a", "b", "c"], rows) == []
    assert distinguishing([], []) == []
    together = [{"seed": 0, "other_seed": 0, "lr": 0}, {"seed": 1, "other_seed": 1, "lr": 2}]
    assert distinguishing(["a", "a"], together) == ["seed", "lr"]
