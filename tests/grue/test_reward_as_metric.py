"""A metric that measures as the run's reward does, so that a plan names its reward model once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from common.config.resolve import resolve
from common.experiment import EXPERIMENTS
from common.plan.load import load_plan
from grue.experiments.finetune.config import FinetuneConfig
from tests.conftest import PROJECT, Workplace
from tests.grue.conftest import nested
from tests.grue.test_reinforcement import reinforcement

LEARNED = {"id": "learned_preference", "args": {"model_name": "rm", "sigmoid": True}}


def metrics_of(*metrics: Any, reward: Any = LEARNED) -> list[dict[str, Any]]:
    flat = reinforcement(Path("model"), **{"train_evaluation.metrics": list(metrics)})
    del flat["experiment"], flat["reward_fn.id"]
    config, problems = resolve(FinetuneConfig, nested(flat | {"reward_fn": reward}))
    assert config is not None, problems
    again = FinetuneConfig.model_validate(config.model_dump(mode="json"))
    assert again == config
    return [metric.args for metric in config.train_evaluation.metrics]


def test_a_metric_without_a_model_measures_as_the_reward_does() -> None:
    own = {"id": "learned_preference", "args": {"model_name": "other"}}
    part = {"id": "learned_preference", "args": {"sigmoid": False}}
    expected = {
        ("rm", True): {"id": "learned_preference"},
        ("other", False): own,
        ("rm", False): part,
    }
    for (model, sigmoid), metric in expected.items():
        (found,) = metrics_of(metric)
        assert (found["model_name"], found["sigmoid"]) == (model, sigmoid)


def test_the_reward_may_be_a_part_of_a_sum() -> None:
    def total(*parts: dict[str, Any]) -> dict[str, Any]:
        return {"id": "weighted_sum", "args": {"rewards": [{"id": "length"}, *parts]}}

    weighted = {**LEARNED, "weight": 2.0}
    for reward in (total(weighted), total(total(weighted))):
        (found,) = metrics_of({"id": "learned_preference"}, reward=reward)
        assert (found["model_name"], found["sigmoid"]) == ("rm", True)
    two = total(weighted, {**weighted, "name": "second"})
    with pytest.raises(AssertionError, match=r"metrics\[0\].args.model_name"):
        metrics_of({"id": "learned_preference"}, reward=two)


def test_another_reward_has_no_model_for_it() -> None:
    flat = reinforcement(Path("model"), **{"train_evaluation.metrics": [{"id": LEARNED["id"]}]})
    del flat["experiment"]
    _, problems = resolve(FinetuneConfig, nested(flat))
    assert [problem.key for problem in problems] == ["train_evaluation.metrics[0].args.model_name"]


def test_a_policy_can_be_trained_against_a_reward_model_that_is_there(
    workplace: Workplace,
) -> None:
    """The command of the README, for a plan that trains its reward model first."""
    plan = workplace.path / "sentiment.json"
    shutil.copy(PROJECT / "experiment_plans/preferences/sentiment.json", plan)
    runs = load_plan(plan, EXPERIMENTS, overrides={"reward_fn.args.model_name": "hub/rm"}).runs
    policy = next(run for run in runs if run.stage == "policy")
    assert not policy.references
    assert isinstance(policy.config, FinetuneConfig)
    assert policy.config.train_evaluation.metrics[0].args["model_name"] == "hub/rm"
