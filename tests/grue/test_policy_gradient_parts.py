"""Advantages, policy losses, aggregations and KL estimators: golden values, and facts of each."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from grue.algorithms.args import critic_free_algorithms as keys
from grue.algorithms.kl_config import KlEstimator
from grue.rl.advantages import generalized_advantages
from grue.rl.aggregation import aggregate, token_weights
from grue.rl.group_advantages import (
    BASELINES,
    SCALES,
    deviates,
    group_advantages,
    group_std,
    rewards_to_go,
    virtual_best,
)
from grue.rl.kl import KL_ESTIMATORS
from grue.rl.policy_losses import clip_shares, policy_ratios
from grue.rl.tables import AGGREGATIONS, POLICY_LOSSES
from grue.rollouts.minibatch import standardize

CASES = json.loads((Path(__file__).parents[1] / "golden/policy_gradient.json").read_text())["cases"]
FLOAT64 = {"dtype": torch.float64}
EXACT, WITH_EPSILON = 1e-9, 1e-6
"""Tolerances: the second where the published code adds 1e-8 to a denominator."""


class Case:
    """Inputs and outputs of a golden case, as tensors of a precision."""

    def __init__(self, case: dict[str, Any], dtype: torch.dtype) -> None:
        self.given, self.expected = case["inputs"], case["outputs"]
        self.dtype = dtype
        self.mask = self.tensor("mask").bool()
        self.lengths = self.mask.sum(1).view(-1, self.given["K"])

    def tensor(self, name: str) -> Tensor:
        return torch.tensor(self.given[name], dtype=self.dtype)

    def close(self, found: Tensor, expected: Any, tolerance: float = EXACT) -> None:
        wanted = torch.tensor(expected, dtype=self.dtype)
        tolerance = tolerance if self.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)

    def weights(self, aggregation: str) -> Tensor:
        """[N] weights of responses, the longest allowed length being the width."""
        found = token_weights(aggregation, self.lengths, self.mask.shape[1])
        return found.flatten().to(self.dtype)


@pytest.fixture(params=[(i, dtype) for i in range(len(CASES)) for dtype in ("float64", "float32")],
                ids=lambda param: f"{param[0]}-{param[1]}")  # fmt: skip
def case(request: pytest.FixtureRequest) -> Case:
    number, dtype = request.param
    return Case(CASES[number], getattr(torch, dtype))


@pytest.mark.parametrize(
    ("baseline", "scale"), [("group", "group_std"), ("group", None), ("leave_one_out", None)]
)
def test_golden_group_advantages(
    case: Case, baseline: str, scale: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = case.tensor("scores").view(case.lengths.shape)
    with_epsilon = functools.partial(group_std, epsilon=case.given["epsilon of group_std"])
    monkeypatch.setitem(SCALES, "group_std", with_epsilon)
    found, of_penalties = group_advantages(
        scores, torch.zeros_like(scores), baseline=baseline, scale=scale, tolerance=1e-6
    )
    expected = case.expected["advantages"][f"{baseline} / {scale or 'none'}"]
    case.close(found.view(-1, 1) * case.mask, expected)
    assert (found[0] == 0).all() and (of_penalties == 0).all(), "the first group is silent"


def test_golden_advantages_over_the_whole_batch(case: Case) -> None:
    expected, mask = case.expected["advantages"], case.mask
    scores, values = case.tensor("scores"), case.tensor("values")
    last = torch.arange(mask.shape[1]) == mask.sum(1, keepdim=True) - 1
    rewards = torch.where(last, scores[:, None], 0.0)
    to_go = rewards_to_go(rewards, mask)
    of_groups = BASELINES["group"](scores.view(case.lengths.shape), 1e-6).view(-1, 1) * mask
    found = generalized_advantages(
        rewards, values, mask, torch.zeros_like(scores), gamma=0.99, gae_lambda=0.95
    )
    returns, without_critic = found + values, torch.zeros_like(values)
    for name, advantages, critic, targets in (
        ("none / unit (reinforce_plus_plus)", to_go, without_critic, to_go),
        ("group / unit (reinforce_plus_plus_baseline)", of_groups, without_critic, to_go),
        ("gae 0.99 0.95 / unit", found, values, returns),
    ):
        (of_tokens,), _ = standardize([advantages[mask]], critic[mask], targets[mask])
        wanted = torch.tensor(expected[name], **FLOAT64)[mask]  # padding has no meaning
        case.close(of_tokens, wanted.tolist(), WITH_EPSILON)
    wanted = torch.tensor(case.expected["gae returns"], **FLOAT64)[mask]
    case.close(returns[mask], wanted.tolist())


def test_golden_aggregations(case: Case) -> None:
    losses = case.tensor("loss_matrix")
    for name, expected in case.expected["aggregate"].items():
        tolerance = WITH_EPSILON if name == "sequence_mean" else EXACT
        case.close(aggregate(losses, case.mask, case.weights(name)), expected, tolerance)


GOLDEN_LOSSES = {
    "clipped 0.2 0.2 token_mean": ("clipped", "token", 0.2, 0.2, "token_mean"),
    "clipped 0.2 0.28 token_mean": ("clipped", "token", 0.2, 0.28, "token_mean"),
    "clipped 0.2 0.2 sequence_mean": ("clipped", "token", 0.2, 0.2, "sequence_mean"),
    "clipped, ratio sequence, 0.03 0.04 sequence_mean":
        ("clipped", "sequence", 0.03, 0.04, "sequence_mean"),
    "cispo high 0.2 token_mean": ("cispo", "token", 0.2, 0.2, "token_mean"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN_LOSSES)
def test_golden_policy_losses(case: Case, name: str) -> None:
    loss_name, kind, low, high, aggregation = GOLDEN_LOSSES[name]
    expected = case.expected["policy_loss"][name]
    log_probs, old = case.tensor("log_probs").requires_grad_(), case.tensor("old_log_probs")
    advantages = case.tensor("advantages for policy_loss")
    ratios = policy_ratios(log_probs, old, case.mask, kind)
    losses = POLICY_LOSSES[loss_name](log_probs, ratios, advantages, low, high)
    loss = aggregate(losses, case.mask, case.weights(aggregation))
    (gradient,) = torch.autograd.grad(loss, log_probs)
    tolerance = WITH_EPSILON if aggregation == "sequence_mean" else EXACT
    case.close(loss, expected["loss"], tolerance)
    case.close(gradient, expected["gradient of log_probs"], tolerance)
    if "clip fraction" in expected and case.dtype == torch.float64:
        below, above = clip_shares(ratios.detach(), advantages, low, high)
        share = (below | above)[case.mask].double().mean()
        assert float(share) == pytest.approx(expected["clip fraction"], abs=1e-6)


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_golden_kl_estimators(case: Case, name: str) -> None:
    log_probs, ref = case.tensor("log_probs").requires_grad_(), case.tensor("ref_log_probs")
    found = KL_ESTIMATORS[name](log_probs, ref) * case.mask
    case.close(found, case.expected["kl"][name]["per token"])
    (gradient,) = torch.autograd.grad(found.sum(), log_probs)
    case.close(gradient, case.expected["kl"][name]["gradient of their sum"])


def test_plans_know_the_names_of_the_tables() -> None:
    assert set(get_args(keys.Baseline)) == {
        *BASELINES, "running_mean", "cumulative_mean", "right_or_wrong", "none"}  # fmt: skip
    assert set(get_args(keys.Scale)) == {*SCALES, "none", "unit"}
    assert set(get_args(KlEstimator)) == {*KL_ESTIMATORS, "full"}


# Groups without deviation.


@pytest.mark.parametrize("scale", [None, *SCALES])
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("rewards", [[0.0] * 4, [1.0] * 4, [0.3] * 4, [1e-12] * 4, [-2.0] * 4,
                                     [0.5, 0.5, 0.5000001, 0.5]])  # fmt: skip
def test_equal_rewards_push_nothing(rewards: list[float], baseline: str, scale: str | None) -> None:
    task = torch.tensor([rewards, [0.0, 0.0, 0.0, 1.0]])
    found, _ = group_advantages(
        task, torch.zeros(2, 4), baseline=baseline, scale=scale, tolerance=1e-6
    )
    assert (found[0] == 0).all()
    assert found[1].isfinite().all() and float(found[1, 3]) > 0
    assert deviates(task, 1e-6).tolist() == [False, True]


def test_tiny_rewards_deviate_as_large_ones_do() -> None:
    task = torch.tensor([[0.0, 0.0, 0.0, 1e-12]], **FLOAT64)
    assert deviates(task, 1e-6).tolist() == [True]
    assert not deviates(torch.tensor([[1.0, 1.1]]), 0.2).any()


def test_advantages_of_one_right_output_of_four() -> None:
    """Worked out by hand: the mean is 1/4, the std 1/2."""
    task = torch.tensor([[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]], **FLOAT64)

    def found(baseline: str, scale: str | None) -> list[float]:
        of_task, _ = group_advantages(
            task, 0 * task, baseline=baseline, scale=scale, tolerance=1e-6
        )
        assert (of_task[1] == 0).all()
        return of_task[0].tolist()

    assert found("group", None) == [-0.25, -0.25, -0.25, 0.75]
    assert found("leave_one_out", None) == pytest.approx([-1 / 3, -1 / 3, -1 / 3, 1])
    assert found("group", "group_std") == pytest.approx([-0.25 / 0.5001] * 3 + [0.75 / 0.5001])
    assert found("group", "group_mean") == [-1, -1, -1, 3]
    of_all = math.sqrt((3 * 0.25**2 + 0.75**2) / 7)  # the silent group's zeros count
    of_rewards = math.sqrt((3 * 0.625**2 + 5 * 0.375**2) / 7)  # about the mean of all, 5/8
    assert found("group", "rollout_std") == pytest.approx(
        [-0.25 / of_rewards] * 3 + [0.75 / of_rewards]
    )
    assert found("group", "batch_std") == pytest.approx([-0.25 / of_all] * 3 + [0.75 / of_all])


def test_an_imagined_best_reward_pushes_equal_lower_ones_down() -> None:
    """Worked out by hand: [0, 0, 0, 0] and 1 have the mean 0.2 and the std sqrt(0.2)."""
    task = torch.tensor([[0.0] * 4, [1.0] * 4, [0.0, 0.0, 0.0, 1.0], [0.3] * 4], **FLOAT64)
    low, top = -0.4 / math.sqrt(0.3), 0.6 / math.sqrt(0.3)
    expected = torch.tensor(
        [[-math.sqrt(0.2)] * 4, [0.0] * 4, [low, low, low, top], [-math.sqrt(0.2)] * 4], **FLOAT64
    )
    found = virtual_best(task, 1.0, 1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    assert (found[1] == 0).all()


@pytest.mark.parametrize("num_right", range(9))
def test_the_size_of_advantages_of_right_and_wrong_outputs(num_right: int) -> None:
    """The rms of k of K right outputs is sqrt(k (K - k)) / K."""
    size = 8
    task = torch.tensor([[1.0] * num_right + [0.0] * (size - num_right)], **FLOAT64)
    rms = math.sqrt(num_right * (size - num_right)) / size
    for baseline, factor in (("group", 1.0), ("leave_one_out", size / (size - 1))):
        found = BASELINES[baseline](task, 1e-6)
        assert float(found.square().mean().sqrt()) == pytest.approx(factor * rms)


def test_a_scale_divides_the_task_alone() -> None:
    task = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 1e-3, 0.0, 0.0]], **FLOAT64)
    penalties = torch.tensor([[-0.1, -0.2, -0.3, -0.4]] * 2, **FLOAT64)
    of_task, found = group_advantages(
        task, penalties, baseline="group", scale="group_std", tolerance=1e-6
    )
    torch.testing.assert_close(found, penalties + 0.25)
    assert (of_task[0] == 0).all() and float(of_task[1, 1]) > 1


# Losses and aggregations.

LOG_PROBS = torch.tensor([[-1.0, -2.0, -0.5], [-0.3, -1.5, 0.0]], **FLOAT64)
MASK = torch.tensor([[True, True, True], [True, True, False]])
ADVANTAGES = torch.tensor([[0.7, 0.7, 0.7], [-1.2, -1.2, 0.0]], **FLOAT64)


def gradient(loss: Callable[[Tensor], Tensor], aggregation: str = "sequence_sum") -> Tensor:
    log_probs = LOG_PROBS.clone().requires_grad_()
    weights = token_weights(aggregation, MASK.sum(1)[:, None], 4).flatten()
    (found,) = torch.autograd.grad(aggregate(loss(log_probs), MASK, weights), log_probs)
    return found


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("kind", get_args(keys.Ratio))
@pytest.mark.parametrize("name", ["clipped", "cispo"])
def test_the_first_step_is_that_of_the_plain_policy_gradient(
    name: str, kind: str, aggregation: str
) -> None:
    def loss(log_probs: Tensor, name: str = name) -> Tensor:
        ratios = policy_ratios(log_probs, LOG_PROBS, MASK, kind)
        assert (ratios == 1).all()
        return POLICY_LOSSES[name](log_probs, ratios, ADVANTAGES, 0.2, 0.28)

    plain = gradient(lambda log_probs: loss(log_probs, "reinforce"), aggregation)
    torch.testing.assert_close(gradient(loss, aggregation), plain)
    assert (plain[MASK] != 0).all() and (plain[~MASK] == 0).all()


def test_ratios_of_whole_responses() -> None:
    old = LOG_PROBS - torch.tensor([[0.1, 0.2, -0.6], [0.3, 0.1, 9.0]], **FLOAT64)
    product = policy_ratios(LOG_PROBS, old, MASK, "sequence_product")[:, 0]
    torch.testing.assert_close(product, torch.tensor([-0.3, 0.4], **FLOAT64).exp())
    mean = policy_ratios(LOG_PROBS, old, MASK, "sequence")[:, 0]
    torch.testing.assert_close(mean, torch.tensor([-0.1, 0.2], **FLOAT64).exp())


def test_the_product_of_ratios_has_the_gradient_of_a_response_taken_as_one_action() -> None:
    old = LOG_PROBS - 0.05

    def per_token(log_probs: Tensor) -> Tensor:
        ratios = policy_ratios(log_probs, old, MASK, "sequence_product")
        return POLICY_LOSSES["clipped"](log_probs, ratios, ADVANTAGES, 0.9, 0.9)

    log_probs = LOG_PROBS.clone().requires_grad_()
    ratios = ((log_probs - old) * MASK).sum(1).exp()
    (expected,) = torch.autograd.grad(-(ratios * ADVANTAGES[:, 0]).mean(), log_probs)
    torch.testing.assert_close(gradient(per_token), expected)


def test_clipped_tokens_have_no_gradient_but_with_cispo_they_have() -> None:
    old = LOG_PROBS - torch.tensor([[0.5, 0.0, 0.25], [-0.5, 0.5, 0.0]], **FLOAT64)

    def loss(name: str, high: float) -> Tensor:
        return gradient(
            lambda log_probs: POLICY_LOSSES[name](
                log_probs, policy_ratios(log_probs, old, MASK, "token"), ADVANTAGES, 0.2, high
            )
        )

    # A > 0 above, and A < 0 below, are clipped; exp(0.25) lies below 1.3.
    assert (loss("clipped", 0.2) == 0).tolist() == [[True, False, True], [True, False, True]]
    assert (loss("clipped", 0.3) == 0).tolist() == [[True, False, False], [True, False, True]]
    assert (loss("cispo", 0.2) == 0).tolist() == [[False] * 3, [False, False, True]]
    low, high = clip_shares(policy_ratios(LOG_PROBS, old, MASK, "token"), ADVANTAGES, 0.2, 0.2)
    assert high.tolist() == [[True, False, True], [False] * 3]
    assert low.tolist() == [[False] * 3, [True, False, False]]


def test_equal_lengths_make_means_of_tokens_responses_and_inputs_equal() -> None:
    lengths = torch.full((3, 4), 5)
    found = [token_weights(name, lengths, 9) for name in AGGREGATIONS if name.endswith("_mean")]
    assert len(found) == 3
    for weights in found:
        torch.testing.assert_close(weights, torch.full((3, 4), 1 / 60, **FLOAT64))


def test_only_some_weights_depend_on_the_lengths_of_others() -> None:
    lengths, longer = torch.tensor([[2, 4], [3, 1]]), torch.tensor([[2, 4], [3, 8]])
    changed = {
        name: not torch.equal(*(token_weights(name, of, 8)[:, :1] for of in (lengths, longer)))
        for name in AGGREGATIONS
    }
    assert {name for name, is_so in changed.items() if is_so} == {"token_mean", "prompt_mean"}
    torch.testing.assert_close(token_weights("sequence_sum_norm", lengths, 8),
                               torch.full((2, 2), 1 / 32, **FLOAT64))  # fmt: skip


# KL as a loss, against exact sums over a vocabulary of three.


@pytest.fixture
def logits() -> tuple[Tensor, Tensor]:
    policy = torch.tensor([0.3, -0.2, 0.9], **FLOAT64).requires_grad_()
    return policy, torch.tensor([0.1, 0.4, -0.3], **FLOAT64)


def kl_of(one: Tensor, other: Tensor) -> Tensor:
    return (one.exp() * (one - other)).sum()


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_expected_gradients_of_kl_losses(name: str, logits: tuple[Tensor, Tensor]) -> None:
    own, ref = logits[0].log_softmax(-1), logits[1].log_softmax(-1)
    expected = (own.exp().detach() * KL_ESTIMATORS[name](own, ref)).sum()
    (found,) = torch.autograd.grad(expected, logits[0], retain_graph=True)
    exact = {"k1": 0 * kl_of(own, ref), "k2": kl_of(own, ref), "k3": kl_of(ref, own)}[name]
    (wanted,) = torch.autograd.grad(exact, logits[0])
    torch.testing.assert_close(found, wanted)
    if name != "k2":
        torch.testing.assert_close(expected, kl_of(own, ref))  # unbiased


def test_the_sampled_entropy_has_no_gradient_in_expectation(logits: tuple[Tensor, Tensor]) -> None:
    own = logits[0].log_softmax(-1)
    (found,) = torch.autograd.grad((own.exp().detach() * own).sum(), logits[0])
    torch.testing.assert_close(found, torch.zeros(3, **FLOAT64))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        POLICY_LOSSES["clipped"](LOG_PROBS, LOG_PROBS, ADVANTAGES[:, :1], 0.2, 0.2)
    with pytest.raises(ValueError, match="expected"):
        aggregate(LOG_PROBS, MASK, torch.ones(2, 1))
    with pytest.raises(ValueError, match="expected"):
        group_advantages(torch.ones(2, 4), torch.ones(8), baseline="group", scale=None,
                         tolerance=1e-6)  # fmt: skip
