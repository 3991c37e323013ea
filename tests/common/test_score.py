"""Scores: which of two values is better."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.score import larger_is_better
from sft_vs_rft.config import ControlledConfig
from tests.conftest import TINY_DIGITS, Workplace


@pytest.mark.parametrize(
    ("metric", "larger"),
    [
        ("train loss", False), ("train loss small reward std", False), ("test error", False),
        ("kl reg", False), ("val/perplexity", False),
        ("train accuracy", True), ("reward", True), ("test accuracy large reward std", True),
        ("glossary", True), (None, True),
    ],
)  # fmt: skip
def test_the_name_of_a_metric_says_its_direction(metric: str | None, larger: bool) -> None:
    assert larger_is_better(metric) is larger


@pytest.mark.parametrize(
    ("keys", "larger", "is_said"),
    [
        ({}, False, False),
        ({"score_metric_name": "train accuracy"}, True, True),
        ({"score_metric_name": "train loss"}, False, True),
        ({"score_metric_name": "train accuracy", "score_largest": False}, False, False),
        ({"score_metric_name": "test loss", "score_largest": True}, True, False),
    ],
    ids=str,
)
def test_a_direction_that_is_not_given_follows_the_metric_and_is_said(
    keys: dict[str, Any], larger: bool, is_said: bool
) -> None:
    config = ControlledConfig.model_validate(keys)
    assert config.score_largest is larger
    assert config.identity()["score_largest"] is larger
    kind = "larger" if larger else "smaller"
    said = [line for line in config.notices() if f"{kind} is better" in line]
    assert len(said) == is_said


def test_the_best_epoch_of_an_accuracy_is_the_one_with_the_largest(workplace: Workplace) -> None:
    keys = TINY_DIGITS | {"score_metric_name": "train accuracy", "return_best_score": True,
                          "epochs": 5}  # fmt: skip
    plan = workplace.write_plan(configurations=[{"base_config": keys}])
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    found = [row["train accuracy"] for row in rows]
    assert json.loads(folder.summary.read_text())["score"] == max(found) > min(found)


def test_a_name_may_tell_the_direction(workplace: Workplace) -> None:
    name = "larger_{score_largest}"
    plan = workplace.write_plan(configurations=[
        {"base_config": TINY_DIGITS | {"experiment_name": name, "score_metric_name": metric}}
        for metric in ("train loss", "train accuracy")
    ])  # fmt: skip
    outcome = workplace.run_plan(plan, "--dry_run")
    assert outcome.status == 0
    for direction in (False, True):
        assert f"larger_{direction}" in outcome.out
