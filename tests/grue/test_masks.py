"""Masks: published values, the library's nucleus, distributions that sum to one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import TopPLogitsWarper

from grue.masks import (
    masked_entropy,
    masked_log_probs,
    packed,
    top_k_mask,
    top_p_mask,
    unpacked,
)

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])
FIRST_TWO = torch.tensor([True, True, False, False])
NUCLEUS = torch.tensor([[0.05, 0.5, 0.15, 0.3]]).log()


def near(found: Tensor, expected: list[float] | float) -> None:
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=6e-6)


def test_log_probabilities_and_entropy_have_the_published_values() -> None:
    near(masked_log_probs(LOGITS, FIRST_TWO, normalized=False),
         [-0.44019, -1.44019, -15.94238, -15.94238])  # fmt: skip
    near(masked_entropy(LOGITS, FIRST_TWO, normalized=False), 0.70913)
    near(masked_log_probs(LOGITS, FIRST_TWO)[:2], [-0.31326, -1.31326])
    assert (masked_log_probs(LOGITS, FIRST_TWO)[2:] == -torch.inf).all()
    near(masked_entropy(LOGITS, FIRST_TWO), 0.58220)
    near(masked_entropy(LOGITS, FIRST_TWO | True), 0.94754)


def test_gradients_stay_within_the_mask() -> None:
    logits = LOGITS.clone().requires_grad_()
    (masked_log_probs(logits, FIRST_TWO)[0] + masked_entropy(logits, FIRST_TWO)).backward()
    assert logits.grad is not None
    assert logits.grad[:2].abs().min() > 0.01
    assert (logits.grad[2:] == 0).all()


@pytest.mark.parametrize(
    ("top_p", "fewest", "expected"),
    [
        (0.9, 1, [False, True, True, True]),  # the published value
        (0.7, 1, [False, True, False, True]),
        (0.4, 1, [False, True, False, False]),
        (0.4, 3, [False, True, True, True]),
        (0.4, 9, [True] * 4),
        (1.0, 1, [True] * 4),
    ],
)
def test_top_p_keeps_what_is_needed_for_its_probability(
    top_p: float, fewest: int, expected: list[bool]
) -> None:
    assert top_p_mask(NUCLEUS, top_p, fewest).tolist() == [expected]


@pytest.mark.parametrize("scale", [0.1, 4.0])
def test_the_nucleus_of_a_large_vocabulary_is_the_librarys(scale: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 3000) * scale
    expected = TopPLogitsWarper(0.9)(None, logits) > -torch.inf
    assert (top_p_mask(logits, 0.9) == expected).all()


def test_top_k_keeps_the_most_probable_tokens() -> None:
    assert top_k_mask(NUCLEUS, 2).tolist() == [[False, True, False, True]]
    assert top_k_mask(NUCLEUS, 9).all()


@pytest.mark.parametrize("num_tokens", [1, 8, 301])
def test_masks_are_unpacked_as_they_were_packed(num_tokens: int) -> None:
    mask = torch.rand(2, 3, num_tokens) > 0.5
    bits = packed(mask)
    assert bits.shape == (2, 3, -(-num_tokens // 8))
    assert (unpacked(bits, num_tokens) == mask).all()
