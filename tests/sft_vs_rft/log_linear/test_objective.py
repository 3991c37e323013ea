"""The closed-form gradient against autograd, and what sampled gradients are on average."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sft_vs_rft.log_linear.objective import Moment, Objective
from sft_vs_rft.log_linear.policy import drawn_outputs, log_softmax
from sft_vs_rft.log_linear.trainer import LogLinearTrainer
from tests.fits import fit
from tests.sft_vs_rft.log_linear.prepared import trainer

SETTING = {
    "output_features": [
        [[1, 0, 0.5], [0, 1, 0], [0.2, 0.3, -1], [0, 0, 1]],
        [[0.5, 0.5, 0], [-1, 0, 0.3], [0, 1, 1], [0.7, -0.2, 0]],
    ],
    "rewards": [[1, 0.5, -1, 0], [-0.5, 0.2, 1, 0.9]],
    "ground_truth_rewards": [[1, -1, -1, 0], [0, 0.1, 1, -0.9]],
    "initial_policy_weights": [[-1.2, 0.4, 0.8]],
}
NORMALIZED = {"normalize_by_reward_std": True}
SAMPLED = {"use_expected_reinforce_updates": False}
KL = {"kl_regularization_coeff": 0.3, "kl_reg_ref_unif": True, "logits_temperature": 0.7}


def two_inputs(folder: Path, **keys: Any) -> LogLinearTrainer:
    return trainer(folder, setting=SETTING, dtype="float64", **keys)


def moment_of(
    run: LogLinearTrainer, outputs: tuple[int, ...] | None
) -> tuple[Objective, Moment, np.ndarray]:
    """The objective of a run, and its policy at the start with given outputs drawn."""
    objective, weights = Objective([run.task]), run.model.weights.numpy()[None].copy()
    moment = objective.at(weights, None)
    if outputs is None:
        return objective, moment, weights
    drawn = np.eye(moment.probs.shape[-1])[list(outputs)][None]
    return objective, Moment(moment.log_probs, drawn), weights


def by_definition(
    run: LogLinearTrainer, weights: Tensor, outputs: tuple[int, ...] | None
) -> Tensor:
    """The objective that a run maximises, written out with torch."""
    config, setting = run.config, run.task.setting
    rewards, features = torch.tensor(setting.rewards), torch.tensor(setting.features)
    log_probs = (features @ weights / config.logits_temperature).log_softmax(-1)
    probs, log_ref = log_probs.exp(), torch.tensor(run.task.log_reference)
    value = (probs * rewards).sum(-1, keepdim=True)
    scale = torch.tensor(1.0, dtype=torch.float64)
    if config.normalize_by_reward_std:
        published = config.reward_std_gradient == "published"
        centre = value.mean() if published else value
        std = (probs * (rewards - centre) ** 2).sum(-1).sqrt().mean()
        scale = (std if published else std.detach()) + 1e-8
    at = torch.arange(len(rewards))
    drawn = None if outputs is None else torch.tensor(outputs)
    gain = value[:, 0] if drawn is None else rewards[at, drawn] * log_probs[at, drawn]
    kl = (probs * (log_probs - log_ref)).sum(-1)
    if config.use_forward_kl_reg:
        kl = (log_ref.exp() * (log_ref - log_probs)).sum(-1)
    elif drawn is not None and config.sampled_kl == "published":
        kl = (log_probs - log_ref)[at, drawn]
    return (gain / scale - config.kl_regularization_coeff * kl).mean()


@pytest.mark.parametrize("outputs", [None, (1, 3)], ids=["exact", "sampled"])
@pytest.mark.parametrize(
    "keys",
    [
        {},
        NORMALIZED,
        NORMALIZED | {"reward_std_gradient": "published"},
        KL,
        KL | {"use_forward_kl_reg": True},
        KL | {"sampled_kl": "published"},
        KL | NORMALIZED | {"reward_std_gradient": "published"},
    ],
)
def test_the_gradient_is_that_of_the_objective(
    keys: dict[str, Any], outputs: tuple[int, ...] | None, tmp_path: Path
) -> None:
    run = two_inputs(tmp_path, **keys, **({} if outputs is None else SAMPLED))
    objective, moment, weights = moment_of(run, outputs)
    leaf = torch.tensor(weights[0], requires_grad=True)
    expected = by_definition(run, leaf, outputs)
    expected.backward()
    assert objective.gradient(moment)[0] == pytest.approx(leaf.grad.numpy(), abs=1e-12)
    found = objective.measure(weights, moment)
    assert found["reg objective value"][0] == pytest.approx(expected.item(), abs=1e-12)


def mean_over_draws(run: LogLinearTrainer) -> np.ndarray:
    """The expectation of a run's sampled gradient, over all pairs of outputs."""
    gradients = []
    for outputs in itertools.product(range(4), repeat=2):
        objective, moment, _ = moment_of(run, outputs)
        weight = np.prod([moment.probs[0, j, y] for j, y in enumerate(outputs)])
        gradients.append(weight * objective.gradient(moment)[0])
    return np.sum(gradients, axis=0)


def test_sampled_gradients_are_exact_on_average_and_so_is_their_penalty(tmp_path: Path) -> None:
    exact = two_inputs(tmp_path, **KL)
    objective, moment, _ = moment_of(exact, None)
    expected = objective.gradient(moment)[0]
    assert mean_over_draws(two_inputs(tmp_path, **KL, **SAMPLED)) == pytest.approx(expected)


def test_the_published_sampled_penalty_has_no_effect_on_average(tmp_path: Path) -> None:
    published = two_inputs(tmp_path, **KL, **SAMPLED, sampled_kl="published")
    free = two_inputs(tmp_path, **SAMPLED, logits_temperature=KL["logits_temperature"])
    assert mean_over_draws(published) == pytest.approx(mean_over_draws(free))


def test_probabilities_that_underflow_have_finite_logarithms() -> None:
    assert log_softmax(np.array([0.0, -2000.0])).tolist() == [0.0, -2000.0]


def test_drawn_outputs_have_the_probabilities_even_where_their_sum_is_rounded() -> None:
    probs = np.array([0.25, 0.0, 0.5, 0.25 - 1e-9])
    uniforms = np.array([0.0, 0.2499, 0.25, 0.7499, 0.75, 1 - 1e-12])
    drawn = drawn_outputs(np.broadcast_to(probs, (6, 4)), uniforms)
    assert drawn.sum(-1).tolist() == [1] * 6
    assert drawn.argmax(-1).tolist() == [0, 0, 2, 2, 3, 3]


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_updates_are_those_of_the_optimizer_from_row_to_row(
    name: str, kind: type[torch.optim.Optimizer], tmp_path: Path
) -> None:
    run = two_inputs(tmp_path, **KL, optimizer=name, epochs=45)
    leaf = run.model.weights.clone().requires_grad_()
    optimizer = kind([leaf], lr=run.config.lr)  # type: ignore[call-arg]
    for _ in range(45):
        optimizer.zero_grad()
        (-by_definition(run, leaf, None)).backward()
        optimizer.step()
    fit(run, 45)
    assert run.model.weights.tolist() == pytest.approx(leaf.tolist(), abs=1e-12)
