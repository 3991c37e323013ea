"""The linear analysis: gradients, flow, closed form and counted steps agree; keys are checked."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from common.config.resolve import resolve
from common.run.folder import read_json, read_json_lines
from sft_vs_rft import objectives
from sft_vs_rft.theory import linear
from sft_vs_rft.theory.config import LinearConfig
from tests.conftest import PROJECT, Workplace

METHODS = ["supervised", "expected_reinforce"]
EPSILONS = [1.0, 1e-2, 1e-8, 1e-50]
PLAN = PROJECT / "experiment_plans/sft_vs_rft/linear_theory.json"


def config(**keys: Any) -> LinearConfig:
    return LinearConfig.model_validate(keys)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_start_has_the_std(epsilon: float) -> None:
    logit = config(epsilon=epsilon).start_logit
    p = 1 / (1 + math.exp(-logit))
    assert p <= 0.5
    assert 2 * math.sqrt(p * (1 - p)) == pytest.approx(epsilon, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("logit", [-230.0, -37.0, -2.0, 0.0, 3.0])
def test_both_rows_move_and_the_slope_is_that_of_autograd(method: str, logit: float) -> None:
    features = torch.tensor([1.2, -0.5, 2.0], dtype=torch.float64)
    unit = features / features.square().sum()
    weights = logit * torch.stack([0.5 * unit, -0.5 * unit])
    gradient = linear.weights_gradient(method, weights, features)
    expected = linear.slope(method, logit) * torch.stack([features, -features])
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=0)


def test_moving_all_rewards_leaves_the_gradient_of_the_published_ones() -> None:
    logits = torch.tensor([[-1.0, 1.5]], dtype=torch.float64, requires_grad=True)
    published = objectives.expected_reward(logits, torch.tensor([[1.0, -1.0]]).double())
    ours = linear.OBJECTIVES["expected_reinforce"](logits)
    assert ours.item() == pytest.approx(published.item() + 1)
    one, other = (torch.autograd.grad(value.sum(), logits)[0] for value in (ours, published))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize(
    "keys", [{}, {"feature_norm": 30.0, "target_probability": 0.999999}, {"feature_norm": 1e-3}]
)
def test_the_integrated_time_is_the_closed_one(
    method: str, epsilon: float, keys: dict[str, float]
) -> None:
    given = config(opt_method=method, epsilon=epsilon, **keys)
    flow = linear.integrate(given)
    assert flow.times[-1] == pytest.approx(linear.closed_form_time(given), rel=1e-8)
    assert flow.logits[0] == pytest.approx(given.start_logit, rel=1e-12, abs=1e-12)
    assert flow.logits[-1] == pytest.approx(given.target_logit, rel=1e-8)
    assert (np.diff(flow.times) >= -1e-12 * flow.times[-1]).all()


@pytest.mark.parametrize("method", METHODS)
def test_counted_steps_are_those_of_gradient_ascent_on_the_weights(method: str) -> None:
    given = config(opt_method=method, epsilon=0.3, lr=0.05, feature_norm=2.0)
    features = torch.tensor([0.0, 2.0], dtype=torch.float64)
    row = torch.tensor([0.7, given.start_logit / 4], dtype=torch.float64)
    weights = torch.stack([row, -row])  # what is orthogonal to the features changes nothing
    steps = 0
    while (weights[0] - weights[1]) @ features < given.target_logit:
        weights = weights + given.lr * linear.weights_gradient(method, weights, features)
        steps += 1
    assert linear.count_steps(given) == steps > 3


@pytest.mark.parametrize("method", METHODS)
def test_small_steps_take_the_time_of_the_flow(method: str) -> None:
    given = config(opt_method=method, epsilon=0.1, lr=1e-3)
    steps = linear.count_steps(given)
    assert steps is not None
    assert steps * given.lr == pytest.approx(linear.closed_form_time(given), rel=2e-3)
    short = {"opt_method": method, "epsilon": 0.1, "lr": 1e-3}
    assert linear.count_steps(config(**short, max_steps=steps)) == steps
    assert linear.count_steps(config(**short, max_steps=steps - 1)) is None
    assert linear.count_steps(config(**short, max_steps=0)) is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"epsilon": 0}, "'epsilon' = 0: must be greater than 0"),
        ({"epsilon": 1e-60}, "'epsilon' = 1e-60: must be at least 1e-50"),
        ({"epsilon": 1.5}, "'epsilon' = 1.5: must be less than or equal to 1"),
        ({"epsilon": 1, "target_probability": 0.5}, "'target_probability' = 0.5: with 'epsilon' ="
         " 1.0 the right label starts at 0.5; give more"),
        ({"epsilon": 0.6, "target_probability": 0.05}, "starts at 0.1; give more"),
        ({"target_probability": 1}, "'target_probability' = 1.*: must be less than or equal to"),
        ({"opt_method": "reinforce"}, "known: supervised, expected_reinforce"),
        ({"feature_norm": 0}, "'feature_norm' = 0.*: must be greater than or equal to 0.000001"),
        ({"lr": 0}, "'lr' = 0.*: must be greater than 0"),
        ({"max_steps": -1}, "'max_steps' = -1: must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_keys_that_do_not_fit(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        found, problems = resolve(LinearConfig, keys)
        assert found is not None, "; ".join(map(str, problems))


def test_the_plan_runs_and_its_figure_finds_both_laws(workplace: Workplace) -> None:
    document = json.loads(PLAN.read_text())
    epsilons = document["configurations"][0]["options"]["epsilon"]
    assert max(epsilons) / min(epsilons) >= 1e6
    options = {"opt_method": METHODS, "epsilon": [1, 1e-2, 1e-5, 1e-8]}
    document["configurations"][0] |= {"options": options}
    outcome = workplace.run_plan(
        workplace.write_plan(**{**document, "name": "linear"}), "--set", "max_steps=100",
        "--outputs_dir", "outputs",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    table = pd.read_csv(workplace.path / "outputs/linear/figures/learning_time.csv")
    slopes = table.groupby("method").fitted_slope.first()
    assert slopes["expected_reinforce"] == pytest.approx(2, abs=1e-3)
    assert slopes["supervised"] == pytest.approx(1, abs=1e-3)

    (folder,) = (workplace.path / "outputs/linear").glob("linear_expected_reinforce_std_1-*")
    summary = read_json(folder / "summary.json")
    rows = read_json_lines(folder / "metrics.jsonl")
    assert summary["score"] == summary["last"]["time"] == rows[-1]["time"]
    assert summary["last"]["steps"] * 0.1 == summary["last"]["steps_times_lr"]
    assert rows[0]["time"] == 0
    assert rows[0]["reward std"] == pytest.approx(1)
    assert rows[-1]["reward"] == pytest.approx(0.8)
    assert rows[-1]["train loss"] == pytest.approx(-math.log(0.9))
    assert [row["epoch"] for row in rows] == list(range(len(rows)))
