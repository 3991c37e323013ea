"""A plan's own ``base_config``, which lies under those of its configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sft_vs_rft  # noqa: F401  registers its experiments
from common.experiment import EXPERIMENTS
from common.plan.load import load_plan
from tests.common.plans import load, problems_of, values


def test_it_lies_under_all_that_a_configuration_says(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        {"id": "a"},
        {"id": "b", "base_config": {"lr": 2}},
        {"id": "c", "options": {"lr": [3]}},
        {"id": "d"},
        base_config={"epochs": 7, "lr": 1, "random_seed": 5},
        set={"d.lr": 4},
        overrides={"b.epochs": 8},
    )
    assert values(plan, "lr", "epochs") == [(1, 7), (2, 8), (3, 7), (4, 7)]


def test_the_plan_that_is_written_makes_the_same_runs(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(json.dumps({"epochs": 7}))
    base = {"from": "base.json", "lr": 1}
    plan = load(tmp_path, {}, {"base_config": {"lr": 2}}, base_config=base)
    assert values(plan, "lr", "epochs") == [(1, 7), (2, 7)]
    (tmp_path / "base.json").unlink()
    path = tmp_path / "written.json"
    path.write_text(json.dumps(plan.effective))
    again = load_plan(path, EXPERIMENTS)
    assert [run.fingerprint for run in again.runs] == [run.fingerprint for run in plan.runs]


def test_a_key_is_for_the_configurations_that_know_it(tmp_path: Path) -> None:
    toy, controlled = {"base_config": {"epochs": 3}}, {"experiment": "sft_vs_rft"}
    plan = load(tmp_path, toy, controlled, base_config={"pause": 0.5, "batch_size": 7})
    assert plan.runs[0].config.pause == 0.5  # type: ignore[attr-defined]
    assert plan.runs[1].config.batch_size == 7  # type: ignore[attr-defined]


def test_a_plan_that_is_begun_with_brings_its_own_base(tmp_path: Path) -> None:
    other = {
        "base_config": {"epochs": 7, "lr": 1},
        "configurations": [{"base_config": {"lr": 2}}],
    }
    (tmp_path / "other.json").write_text(json.dumps(other))
    plan = load(tmp_path, {"base_config": {"from": "other.json"}})
    assert values(plan, "lr", "epochs") == [(2, 7)]


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ({"lrr": 1}, "plan.json, base_config:\n  'lrr' = 1: unknown key; did you mean 'lr'?"),
        ({"lr.x": 1}, "plan.json, base_config:\n  'lr' = {'x': 1}: expected a number"),
        (
            {"lr": "1"},
            "plan.json, base_config:\n  'lr' = '1': expected a number; remove the quotes",
        ),
        ({"zzz": 1}, "base_config:\n  'zzz' = 1: unknown key; known: experiment_name"),
        ({"seeds": [1]}, "'seeds' = [1]: unknown key here; it belongs beside 'base_config'"),
        ({"a.b": 1, "a": {"b": 2}}, "base_config:\n  'a.b': is given twice, by 'a.b' and by 'a'"),
        ({"from": "no.json"}, "'base_config.from' = 'no.json': no such file beside the one"),
        ([1], "'base_config' = [1]: expected an object in { }"),
    ],
)
def test_what_is_wrong_in_it_is_told_once(tmp_path: Path, base: Any, message: str) -> None:
    text = problems_of(tmp_path, {"base_config": {"pause": 0.5}}, {}, base_config=base)
    assert message in text
    assert "configurations[" not in text


def test_what_one_configuration_cannot_have_is_told_of_both(tmp_path: Path) -> None:
    text = problems_of(tmp_path, {"base_config": {"lr": 1}}, {}, base_config={"lr": "x"})
    assert text.startswith(
        "plan.json, base_config under configurations[1]:\n  'lr' = 'x': expected"
    )


def test_without_a_base_that_can_be_read_nothing_is_said_of_runs(tmp_path: Path) -> None:
    text = problems_of(tmp_path, {}, {}, base_config={"from": "no.json"})
    assert len(text.splitlines()) == 2


def test_no_key_is_called_unknown_where_an_experiment_is(tmp_path: Path) -> None:
    text = problems_of(tmp_path, {}, {"experiment": "nothing"}, base_config={"of_nothing": 1})
    assert "of_nothing" not in text and "unknown experiment" in text
