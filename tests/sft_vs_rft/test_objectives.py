from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sft_vs_rft import objectives
from sft_vs_rft.rewards import reward_table

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(params=["random", "peaked", "one input", "two classes"])
def logits(request: pytest.FixtureRequest) -> Tensor:
    torch.manual_seed(0)
    shape = {"one input": (1, 5), "two classes": (6, 2)}.get(request.param, (6, 5))
    values = torch.randn(*shape, dtype=torch.float64)
    if request.param == "peaked":
        values = values * 500
    return values.requires_grad_()


@pytest.fixture
def rewards(logits: Tensor) -> Tensor:
    torch.manual_seed(1)
    return torch.randn_like(logits)


def gradient(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value.sum(), logits)[0]


def test_expected_reward_gradient_is_policy_times_advantage(
    logits: Tensor, rewards: Tensor
) -> None:
    value = objectives.expected_reward(logits, rewards)
    expected = logits.softmax(-1) * (rewards - value[:, None])
    torch.testing.assert_close(gradient(value, logits), expected, **EXACT)


def test_expected_gradient_norm_is_that_of_autograd_and_at_most_the_std(
    logits: Tensor, rewards: Tensor
) -> None:
    norm = objectives.expected_gradient_norm(logits.detach(), rewards)
    by_autograd = gradient(objectives.expected_reward(logits, rewards), logits).norm(dim=-1)
    torch.testing.assert_close(norm, by_autograd, **EXACT)
    _, std = objectives.reward_mean_std(logits.detach(), rewards)
    assert (norm <= std + 1e-12).all()
    assert norm.max() > 0 or std.max() < 1e-6


def test_reinforce_averaged_over_all_labels_is_the_expected_gradient(
    logits: Tensor, rewards: Tensor
) -> None:
    total = torch.zeros_like(logits)
    for label in range(logits.shape[1]):
        drawn = torch.full((len(logits),), label)
        share = logits.detach().softmax(-1)[:, label, None]
        total += share * gradient(objectives.reinforce(logits, rewards, drawn), logits)
    expected = gradient(objectives.expected_reward(logits, rewards), logits)
    torch.testing.assert_close(total, expected, **EXACT)


def test_sampled_kl_averaged_over_all_labels_is_the_exact_one(
    logits: Tensor, rewards: Tensor
) -> None:
    reference = rewards.log_softmax(-1)
    probabilities = logits.softmax(-1)
    mean = sum(
        probabilities[:, label]
        * objectives.sampled_kl(logits, reference, torch.full((len(logits),), label))
        for label in range(logits.shape[1])
    )
    assert isinstance(mean, Tensor)
    torch.testing.assert_close(
        mean, objectives.kl_divergence(logits, reference), rtol=1e-12, atol=1e-12
    )


def test_kl_to_itself_is_zero_and_to_uniform_is_the_missing_entropy(logits: Tensor) -> None:
    log_probs = logits.log_softmax(-1)
    zero = objectives.kl_divergence(logits, log_probs)
    torch.testing.assert_close(zero, torch.zeros_like(zero), **EXACT)
    to_uniform = objectives.kl_divergence(logits, objectives.uniform_log_probs(logits))
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(to_uniform, math.log(logits.shape[1]) - entropy, rtol=0, atol=1e-10)


def test_reward_mean_and_std_are_those_of_the_distribution() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64)  # probabilities 1/4, 3/4
    mean, std = objectives.reward_mean_std(logits, torch.tensor([[1.0, -1.0]]).double())
    torch.testing.assert_close(mean, torch.tensor([-0.5]).double(), **EXACT)
    torch.testing.assert_close(std, torch.tensor([math.sqrt(0.75)], dtype=torch.float64), **EXACT)


def test_cross_entropy_over_several_labels_is_least_where_they_are_equally_likely() -> None:
    labels = torch.tensor([[0, 2, 3]])
    best = torch.tensor([[0.0, -1e3, 0.0, 0.0, -1e3]], dtype=torch.float64, requires_grad=True)
    loss = objectives.cross_entropy(best, labels)
    torch.testing.assert_close(loss, torch.tensor([math.log(3)], dtype=torch.float64), **EXACT)
    torch.testing.assert_close(gradient(loss, best), torch.zeros_like(best), **EXACT)


def test_peaked_logits_give_finite_losses_and_gradients() -> None:
    logits = torch.tensor([[1e4, 0.0]], requires_grad=True)
    loss = objectives.cross_entropy(logits, torch.tensor([1]))
    assert loss.item() == 1e4
    assert gradient(loss, logits).tolist() == [[1.0, -1.0]]


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"'rewards' has shape \[2, 4\], expected \[2, 3\]"):
        objectives.expected_reward(torch.zeros(2, 3), torch.zeros(2, 4))


def test_reward_table() -> None:
    labels, changed = torch.tensor([0, 2]), torch.tensor([False, True])
    assert reward_table(labels, 3, min_reward=-1.0).tolist() == [[1, -1, -1], [-1, -1, 1]]
    high = reward_table(labels, 3, min_reward=-2.0, high_initial_reward_on=changed)
    assert high.tolist() == [[1, -2, -2], [0.5, 0.5, 1]]


def test_the_divergence_of_near_equal_policies_is_not_negative() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(200, 10)
    reference = (logits + 1e-6 * torch.randn_like(logits)).log_softmax(-1)
    logits.requires_grad_()
    found = objectives.kl_divergence(logits, reference)
    assert found.min() >= 0 and found.max() < 1e-6
    found.sum().backward()
    log_probs = logits.detach().log_softmax(-1)
    apart = log_probs - reference
    expected = log_probs.exp() * (apart - (log_probs.exp() * apart).sum(-1, keepdim=True))
    torch.testing.assert_close(logits.grad, expected, rtol=0, atol=1e-6)
