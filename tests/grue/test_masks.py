"""Masks: published values, the library's nucleus, bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import TopPLogitsWarper

from grue.policies.mask_ops import (
    _last_of_buckets,
    _last_of_sorted,
    masked,
    packed,
    top_k_mask,
    top_p_mask,
    unpacked,
)

NUCLEUS = torch.tensor([[0.05, 0.5, 0.15, 0.3]]).log()


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


@pytest.mark.parametrize("top_p", [1e-6, 0.5, 0.95])
@pytest.mark.parametrize("scale", [0.0, 1e-4, 0.3, 30.0])
def test_buckets_find_the_nucleus_that_sorting_finds(scale: float, top_p: float) -> None:
    """Also among equal logits and beside tokens that cannot come."""
    torch.manual_seed(1)
    logits = scale * torch.randn(4, 5000)
    logits[1] = logits[1, :50].repeat(100)
    logits[2, 7:] = -torch.inf
    logits[3, ::2] = -1e30
    ordered = logits.double().sort(descending=True).values
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    for limit, always in ((top_p + 1e-6, False), (top_p - 1e-6, True)):
        last = (before <= limit).sum(-1, keepdim=True).clamp(min=1) - 1
        kept = logits >= ordered.gather(-1, last).float()
        found = top_p_mask(logits, top_p)
        assert (found >= kept if always else found <= kept).all()  # they differ by rounding alone


@pytest.mark.parametrize("top_p", [0.9, 0.99, 0.9999])
@pytest.mark.parametrize("find", [_last_of_sorted, _last_of_buckets])
def test_rare_tokens_of_a_large_vocabulary_have_their_exact_share(
    find: Callable[[Tensor, Tensor, float], Tensor], top_p: float
) -> None:
    """As GPUs find the nucleus, and as the CPU does."""
    torch.manual_seed(0)
    logits = 4 * torch.randn(4, 50_257)
    exact = logits.double().softmax(-1).sort(descending=True).values
    expected = (exact.cumsum(-1) - exact <= top_p).sum(-1)
    kept = (logits >= find(logits.clone(), logits.softmax(-1), top_p)).sum(-1)
    assert (kept - expected).abs().max() <= 1


def test_logits_that_are_not_numbers_have_no_nucleus() -> None:
    assert not top_p_mask(torch.full((2, 9), torch.nan), 0.9).any()


def test_top_k_keeps_the_most_probable_tokens() -> None:
    assert top_k_mask(NUCLEUS, 2).tolist() == [[False, True, False, True]]
    assert top_k_mask(NUCLEUS, 9).all()
    tied = torch.tensor([[1.0, 2.0, 2.0, 0.0, 2.0]])
    assert top_k_mask(tied, 2).tolist() == [[False, True, True, False, True]]


@pytest.mark.parametrize("num_tokens", [1, 8, 301])
def test_masks_are_unpacked_as_they_were_packed(num_tokens: int) -> None:
    mask = torch.rand(2, 3, num_tokens) > 0.5
    bits = packed(mask)
    assert bits.shape == (2, 3, -(-num_tokens // 8))
    assert (unpacked(bits, num_tokens) == mask).all()


@pytest.mark.parametrize("fewest", [1, 7])
def test_no_mask_asks_for_a_number_that_is_on_a_device(fewest: int) -> None:
    """On the meta device there are none: who asks fails."""
    logits = torch.empty(4, 300, device="meta")
    assert top_p_mask(logits, 0.9, fewest).shape == (4, 300)
    assert packed(top_k_mask(logits, fewest)).shape == (4, 38)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masked_logits_are_minus_infinity_and_have_no_gradient(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = 100 * torch.randn(3, 77, generator=draw, dtype=dtype)
    logits[0, :5] = -torch.inf
    mask = torch.rand(3, 77, generator=draw) < 0.5
    expected = torch.where(mask, logits, -torch.inf)
    assert torch.equal(masked(logits, packed(mask)), expected)
    own, other = (logits.clone().requires_grad_() for _ in range(2))
    masked(own, packed(mask)).logsumexp(-1).sum().backward()
    torch.where(mask, other, -torch.inf).logsumexp(-1).sum().backward()
    assert own.grad is not None
    torch.testing.assert_close(own.grad, other.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_only_an_allowed_token_brings_in_what_is_not_finite(
    dtype: torch.dtype, value: float
) -> None:
    logits = torch.tensor([[value, 0, 1], [0, value, 1]], dtype=dtype)
    mask = torch.tensor([[False, True, True], [False, True, True]])
    expected = torch.tensor([[-torch.inf, 0, 1], [-torch.inf, value, 1]], dtype=dtype)
    torch.testing.assert_close(
        masked(logits, packed(mask)), expected, equal_nan=True, rtol=0, atol=0
    )
    torch.testing.assert_close(masked(logits[:1], packed(mask[:1])), expected[:1], rtol=0, atol=0)


def test_packed_bits_do_not_depend_on_the_device() -> None:
    mask = torch.rand(2, 3, 77, generator=torch.Generator().manual_seed(0)) < 0.5
    bits = torch.nn.functional.pad(mask, (0, 3)).unflatten(-1, (-1, 8)).int()
    assert torch.equal(packed(mask), (bits << torch.arange(8)).sum(-1, dtype=torch.uint8))
