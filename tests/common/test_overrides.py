"""Keys that a plan's ``set`` and the command line change, in all configurations or in one stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.runner.cli_overrides import parse_assignments, refuse
from tests.common.plans import load, problems_of, values

FIRST = {"id": "first", "options": {"lr": [1, 2]}}
SECOND = {"id": "second", "base_config": {"lr": 3, "start": "@first.checkpoint"}}
ALONE = {"id": "second", "base_config": {"lr": 3}}


def test_a_stage_is_reached_alone(tmp_path: Path) -> None:
    changes = {"second.epochs": 7, "second.lr": 1, "epochs": 5}
    plan = load(tmp_path, FIRST, SECOND, overrides=changes)
    assert values(plan, "lr", "epochs") == [(1, 5), (2, 5), (1, 7)]
    assert plan.effective["set"] == changes


def test_a_stage_is_reached_from_the_plan_too(tmp_path: Path) -> None:
    plan = load(tmp_path, FIRST, ALONE, set={"first.lr": 4, "epochs": 5})
    assert values(plan, "lr", "epochs") == [(4, 5), (3, 5)]


def test_a_key_of_runs_is_meant_before_a_stage_of_its_name(tmp_path: Path) -> None:
    text = problems_of(tmp_path, {"id": "lr"}, overrides={"lr.epochs": 3})
    assert "'lr'" in text and "--set" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"second.lrr": 1}, "'second.lrr' = 1: unknown key; did you mean 'lr'?"),
        ({"second.lr": "x"}, "'second.lr' = 'x': expected a number"),
        ({"third.lr": 1}, "'third.lr' = 1: unknown key; the stages are first, second"),
        ({"secnd.lr": 1}, "'secnd.lr' = 1: unknown key; did you mean 'second'?"),
    ],
)
def test_what_is_wrong_is_told_of_the_key_as_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    text = problems_of(tmp_path, FIRST, ALONE, overrides={"epochs": 3} | changes)
    assert text == f"plan.json, --set:\n  {message}"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"base_config": {"a.b": 1, "a": {"b": 2}}},
         "configurations[0]:\n  'a.b': is given twice, by 'a.b' and by 'a'; keep one of them"),
        ({"base_config": {"a": {"b.c": 1, "b": {"c": 1}}}}, "'a.b.c': is given twice, inside 'a'"),
        ({"base_config": {"a": 3, "a.b": 1}}, "'a.b': is given twice, by 'a' and by 'a.b'"),
        ({"base_config": {"a.b": 1, "a": 3}}, "'a': is given twice, by 'a.b' and by 'a'"),
        ({"options": {"a": [{"b": 1}], "a.b": [2]}}, "'options.a.b': is given twice"),
        ({"options": {"a.b": [2], "a": [{"c": 1}]}}, "'options.a.b': is given twice"),
    ],
)  # fmt: skip
def test_a_dotted_key_beside_its_nested_twin_is_refused(
    tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    assert message in problems_of(tmp_path, entry)


def test_twins_among_overrides_are_refused(tmp_path: Path) -> None:
    twins = {"a": {"b": 1}, "a.b": 2}
    expected = "\n  'a.b': is given twice, by 'a' and by 'a.b'; keep one of them"
    assert f"plan.json, --set:{expected}" in problems_of(tmp_path, {}, overrides=twins)
    assert expected in problems_of(tmp_path, {}, set=twins)


def test_dotted_keys_that_do_not_meet_are_merged(tmp_path: Path) -> None:
    base = {"a.b": 1, "a": {"c": 2, "d.e": 3}, "a.d.f": 4}
    text = problems_of(tmp_path, {"base_config": base})
    assert "twice" not in text
    assert "'a' = {'b': 1, 'c': 2, 'd': {'e': 3, 'f': 4}}" in text


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="--set lr: given twice; keep one of them"):
        parse_assignments(["lr=1", "epochs=3", "lr=2"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan.json"], "plan.json: a plan needs its flag; write --plan_config_path "
         "plan.json"),
        (["--config_path", "a.yml"], "--config_path: write --plan_config_path a.yml"),
        (["--output_path=out"], "--output_path: write --outputs_dir out"),
        (["--base_path_to_store_results", "out"], "write --outputs_dir out"),
        (["--experiment_name", "x"], "write --set experiment_name=x"),
        (["--log_to_wandb"], "--log_to_wandb: write --set log_to_wandb=true"),
        (["--tags", "x"], "--tags: write --set 'tags=[\"x\"]'"),
        (["--tags", "x", "y", "--seed=3"], "--tags: write --set 'tags=[\"x\", \"y\"]'\n  --seed: "),
        (["--seed", "3"], "--seed: write --set seeds=[3]"),
        (["--freh"], "--freh: unknown flag; did you mean '--fresh'?"),
        (["word"], "word: is no flag and follows none; a key is changed by key=value"),
        (["--seed", "3", "a.yaml"], "\n  a.yaml: a plan needs its flag"),
    ],
)  # fmt: skip
def test_words_that_mean_nothing_are_told_what_to_write(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        refuse(words, ["--fresh", "--set"])
    assert message in str(caught.value)
    refuse(["", " "], [])
