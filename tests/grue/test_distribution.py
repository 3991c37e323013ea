"""Distributions over the vocabulary: published values, gradients, masks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from grue.policies.distribution import NotNormalized, TokenDistribution
from grue.policies.mask_ops import packed

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])
FIRST_TWO = packed(torch.tensor([True, True, False, False]))
FLOAT64 = {"dtype": torch.float64}


def near(found: Tensor, expected: list[float] | float) -> None:
    torch.testing.assert_close(found, torch.tensor(expected).to(found), rtol=0, atol=6e-6)


def test_log_probabilities_and_entropy_have_the_published_values() -> None:
    published = NotNormalized(LOGITS, FIRST_TWO)
    near(published.log_probs, [-0.44019, -1.44019, -15.94238, -15.94238])
    near(published.entropy(), 0.70913)
    within = TokenDistribution(LOGITS, FIRST_TWO)
    near(within.log_probs[:2], [-0.31326, -1.31326])
    assert (within.log_probs[2:] == -torch.inf).all()
    near(within.entropy(), 0.58220)
    near(TokenDistribution(LOGITS, FIRST_TWO | 0b1111).entropy(), 0.94754)
    near(TokenDistribution(LOGITS).entropy(), 0.94754)


def test_log_probabilities_are_those_of_the_softmax() -> None:
    logits = torch.randn(2, 3, 11)
    tokens = torch.randint(11, (2, 3))
    expected = logits.softmax(-1).log().gather(-1, tokens[..., None]).squeeze(-1)
    torch.testing.assert_close(TokenDistribution(logits).log_prob(tokens), expected)


def test_entropy_of_known_distributions() -> None:
    logits = torch.tensor([[0.0, 0, 0, 0], [0, 0, -torch.inf, -torch.inf]], **FLOAT64)
    expected = torch.tensor([math.log(4), math.log(2)], **FLOAT64)
    torch.testing.assert_close(TokenDistribution(logits).entropy(), expected)


@pytest.mark.parametrize("far", [-torch.inf, -1e30, -740.0])
def test_the_gradient_of_the_entropy_is_that_of_its_equation(far: float) -> None:
    """-p_a (log p_a + H), which vanishes where a token does not come."""
    logits = torch.tensor([2.0, 1.0, 0.0, far], requires_grad=True, **FLOAT64)
    entropy = TokenDistribution(logits).entropy()
    (found,) = torch.autograd.grad(100 * entropy, logits)
    log_probs = logits.detach().log_softmax(-1).clamp(min=-2000)
    expected = -100 * log_probs.exp() * (log_probs + entropy.detach())
    torch.testing.assert_close(found, expected)


def test_gradients_stay_within_the_mask() -> None:
    logits = LOGITS.clone().requires_grad_()
    within = TokenDistribution(logits, FIRST_TWO)
    (within.log_prob(torch.tensor(0)) + within.entropy()).backward()
    assert logits.grad is not None
    assert logits.grad[:2].abs().min() > 0.01
    assert (logits.grad[2:] == 0).all()
