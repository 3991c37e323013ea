"""Configurations that begin with another one of their plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sft_vs_rft  # noqa: F401  registers its experiments
from tests.common.plans import load, problems_of, values

FIRST = {
    "id": "first",
    "seeds": [0, 1],
    "base_config": {"epochs": 3, "pause": 0.5},
    "options": {"lr": [1, 2]},
}


def second(**keys: Any) -> dict[str, Any]:
    return {"id": "second", "extends": "first", **keys}


def runs_of_second(tmp_path: Path, entry: dict[str, Any], **keys: Any) -> list[tuple[Any, ...]]:
    plan = load(tmp_path, FIRST, entry, **keys)
    shown = zip(plan.runs, values(plan, "epochs", "pause", "lr", "random_seed"), strict=True)
    return [row for run, row in shown if run.stage == "second"]


OWN_EPOCHS = {"base_config": {"epochs": 4}}


@pytest.mark.parametrize(
    ("own", "meant"),
    [
        (OWN_EPOCHS, [(4, 0.5, 1, 0), (4, 0.5, 2, 0), (4, 0.5, 1, 1), (4, 0.5, 2, 1)]),
        ({**OWN_EPOCHS, "seeds": [7]}, [(4, 0.5, 1, 7), (4, 0.5, 2, 7)]),
        ({"options": {"lr": [3]}}, [(3, 0.5, 3, 0), (3, 0.5, 3, 1)]),
        ({"options": {"epochs": [4]}, "seeds": [7]}, [(4, 0.5, 1, 7), (4, 0.5, 2, 7)]),
        ({"base_config": {"lr": 3}}, [(3, 0.5, 3, 0), (3, 0.5, 3, 1)]),
        ({"base_config": {"random_seed": 7, "epochs": 4}}, [(4, 0.5, 1, 7), (4, 0.5, 2, 7)]),
    ],
)
def test_own_keys_win(tmp_path: Path, own: dict[str, Any], meant: list[tuple[Any, ...]]) -> None:
    assert runs_of_second(tmp_path, second(**own)) == meant


def test_a_chain_may_stand_in_any_order(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        {"id": "c", "extends": "b", "base_config": {"lr": 3}},
        {"id": "b", "extends": "a", "base_config": {"pause": 0.5}},
        {"id": "a", "base_config": {"epochs": 7, "lr": 1}},
        base_config={"validate_every": 2, "lr": 9},
    )
    keys = ("lr", "pause", "epochs", "validate_every")
    assert values(plan, *keys) == [(3, 0.5, 7, 2), (1, 0.5, 7, 2), (1, 0.0, 7, 2)]


def test_the_experiment_comes_along_and_keys_that_another_one_lacks_do_not(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        {"id": "a", "experiment": "sft_vs_rft", "base_config": {"batch_size": 7, "epochs": 9}},
        {"id": "b", "extends": "a", "base_config": {"epochs": 8}},
        {"id": "c", "extends": "b", "experiment": "custom:tests.toy:EXPERIMENT"},
    )
    assert values(plan, "epochs") == [(9,), (8,), (8,)]
    assert [run.experiment for run in plan.runs] == [
        "sft_vs_rft",
        "sft_vs_rft",
        "custom:tests.toy:EXPERIMENT",
    ]


def test_an_option_that_the_runs_do_not_know_leaves_the_product(tmp_path: Path) -> None:
    plan = load(
        tmp_path,
        {"id": "a", "experiment": "sft_vs_rft", "options": {"batch_size": [1, 2], "lr": [1, 2]}},
        {"id": "b", "extends": "a", "experiment": "custom:tests.toy:EXPERIMENT"},
    )
    assert [run.config.lr for run in plan.runs if run.stage == "b"] == [1, 2]  # type: ignore[attr-defined]


def test_an_override_of_a_stage_stays_with_it(tmp_path: Path) -> None:
    own = second(seeds=[7], base_config={"epochs": 4})
    found = runs_of_second(tmp_path, own, overrides={"first.lr": 5})
    assert found == [(4, 0.5, 1, 7), (4, 0.5, 2, 7)]
    found = runs_of_second(tmp_path, own, overrides={"second.lr": 5})
    assert found == [(4, 0.5, 5, 7)]


A_EXTENDS = {"id": "a", "extends": "b"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([second()], "'extends' = 'first': no configuration has this id; known: second"),
        ([FIRST, {"extends": "frist"}], "no configuration has this id; did you mean 'first'?"),
        ([A_EXTENDS | {"extends": "a"}], "extend each other: a -> a; break the ring"),
        ([A_EXTENDS, {"id": "b", "extends": "a"}, {"extends": "a"}], "a -> b -> a; break the ring"),
        ([{"id": "a", "experiment": "x"}, {"extends": "a"}], "configurations[0]:\n  'experiment'"),
        ([{"extends": 3}], "'extends' = 3: expected text in quotes"),
    ],
)  # fmt: skip
def test_what_cannot_be_extended_is_told_once(
    tmp_path: Path, entries: list[Any], message: str
) -> None:
    text = problems_of(tmp_path, *entries)
    assert message in text
    assert len(text.splitlines()) == 2


def test_what_is_wrong_in_the_first_is_told_there_alone(tmp_path: Path) -> None:
    wrong = {"id": "first", "base_config": {"lr": "x", "epochss": 3}, "options": {"pause": ["y"]}}
    text = problems_of(tmp_path, wrong, second(base_config={"epochs": 4}))
    assert "configurations[0]" in text and "configurations[1]" not in text


def test_what_goes_wrong_in_the_second_alone_is_told_of_it(tmp_path: Path) -> None:
    text = problems_of(tmp_path, FIRST, second(base_config={"pause": "x"}))
    assert text == "plan.json, configurations[1]:\n  'pause' = 'x': expected a number"
