"""Losses of reward models: golden values, identities, and the direction in which they push."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from grue.experiments.reward_model import losses
from grue.scorers.reward_model import rating_moments


def numbers(*shape: int, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator) * scale


def of(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def near(found: Tensor, expected: float, tolerance: float = 1e-6) -> None:
    assert float(found) == pytest.approx(expected, abs=tolerance)


def test_four_equal_scores_cost_log_four() -> None:
    near(losses.best_of_n_loss(torch.zeros(1, 4), torch.tensor([2])), math.log(4))


def test_best_of_n_pushes_the_scores_by_choice_minus_probability() -> None:
    scores = numbers(5, 4).requires_grad_()
    best = torch.tensor([0, 3, 1, 2, 2])
    losses.best_of_n_loss(scores, best).sum().backward()
    expected = scores.softmax(-1) - torch.nn.functional.one_hot(best, 4)
    torch.testing.assert_close(scores.grad, expected, rtol=0, atol=1e-12)


def test_the_best_of_two_is_a_pair() -> None:
    scores = numbers(6, 2)
    pair = losses.pairwise_loss(*scores.unbind(1), torch.zeros(6).double(), margin="none")
    best = losses.best_of_n_loss(scores, torch.zeros(6, dtype=torch.long))
    torch.testing.assert_close(pair, best, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("margin", "loss"), [(1.2, 1.463282), (0.2, 0.798139)])
def test_equal_scores_cost_what_the_margin_says(margin: float, loss: float) -> None:
    near(losses.pairwise_loss(of(0.7), of(0.7), of(margin)), loss)


@pytest.mark.parametrize(("mode", "loss"), [("paired", 1.047755), ("broadcast", 1.070229)])
def test_margins_of_two_pairs(mode: losses.MarginMode, loss: float) -> None:
    found = losses.pairwise_loss(of(0.3, -0.1), of(0, 0), of(1.2, 0.2), margin=mode)
    near(found.mean(), loss)


def test_equal_margins_are_the_same_paired_and_broadcast() -> None:
    chosen, rejected, margins = numbers(7), numbers(7, scale=1.0), torch.full((7,), 0.4).double()
    paired, broadcast = (
        losses.pairwise_loss(chosen, rejected, margins, margin=mode, centring=0.3)
        for mode in ("paired", "broadcast")
    )
    torch.testing.assert_close(paired, broadcast, rtol=0, atol=1e-12)


def test_centring_adds_the_squared_sum() -> None:
    chosen, rejected, margins = of(1.0, 2.0), of(0.5, -2.0), of(0.1, 0.2)
    plain = losses.pairwise_loss(chosen, rejected, margins)
    centred = losses.pairwise_loss(chosen, rejected, margins, centring=0.01)
    torch.testing.assert_close(centred - plain, of(0.01 * 1.5**2, 0.0), rtol=0, atol=1e-12)


def test_a_comparison_is_the_second_less_the_first() -> None:
    near(losses.comparison_loss(of(1.0), of(3.0), of(2.0)), 0)
    near(losses.comparison_loss(of(3.0), of(1.0), of(2.0)), 16)
    near(losses.rating_loss(of(3.0), of(2.5)), 0.25)


def test_uniform_ratings() -> None:
    uniform = torch.zeros(1, 10, dtype=torch.float64)
    near(losses.probability_rated_higher(uniform, uniform), 0.45)
    near(losses.probabilistic_loss(uniform, uniform), 0.798508)
    mean, std = rating_moments(uniform)
    near(mean, 5.5)
    near(std, 2.872281)
    near(1 / (1 + std), 0.258246)


def test_certain_ratings() -> None:
    ten, one = torch.full((2, 1, 10), -1e4, dtype=torch.float64)
    ten[0, 9] = one[0, 0] = 1e4
    near(losses.probabilistic_loss(ten, one), 0, 1e-12)
    assert float(losses.probability_rated_higher(one, ten)) == 0
    assert [float(part) for part in rating_moments(ten)] == [10, 0]


@pytest.mark.parametrize("apart", [5.0, 40.0, 400.0])
def test_pairs_far_in_the_wrong_order_have_a_gradient(apart: float) -> None:
    """With two ratings P = p(2) q(1), so that each logit's gradient is that of a log-softmax."""
    chosen = torch.tensor([[apart, 0.0]], requires_grad=True)
    rejected = torch.tensor([[0.0, apart]], requires_grad=True)
    loss = losses.probabilistic_loss(chosen, rejected)
    near(loss.detach(), 2 * apart, 0.02)
    loss.backward()
    p_higher = 1 / (1 + torch.tensor(apart).exp())
    expected = torch.stack([1 - p_higher, p_higher - 1])[None]
    torch.testing.assert_close(chosen.grad, expected)
    torch.testing.assert_close(rejected.grad, -expected)


def test_a_rating_is_higher_lower_or_equal() -> None:
    first, second = numbers(4, 6), numbers(4, 6, scale=1.0)
    p, q = first.softmax(-1), second.softmax(-1)
    higher = losses.probability_rated_higher(first, second)
    doubly = sum(p[:, i] * q[:, j] for i in range(6) for j in range(i))
    torch.testing.assert_close(higher, doubly, rtol=0, atol=1e-12)
    lower = losses.probability_rated_higher(second, first)
    equal = (p * q).sum(-1)
    torch.testing.assert_close(higher + lower + equal, torch.ones(4).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        losses.probability_rated_higher(first, first), (1 - (p * p).sum(-1)) / 2, rtol=0, atol=1e-12
    )


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'margins' has shape \[2, 1\], expected \[2\]"):
        losses.pairwise_loss(of(1, 2), of(1, 2), of(1, 2)[:, None])
