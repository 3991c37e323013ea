"""Drawing tokens: the library's filters, the exact frequencies, no token that may not come."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from grue.policies.decoding import sampling
from grue.policies.decoding.sampling import Filters, candidates, draw, remaining


def _distribution(logits: torch.Tensor, filters: Filters) -> torch.Tensor:
    """[N, V] from the candidates."""
    kept = candidates(logits, filters)
    full = torch.zeros_like(logits)
    if kept.tokens is None:
        full = kept.probabilities
    else:
        full.scatter_(-1, kept.tokens, kept.probabilities)
    return full / full.sum(-1, keepdim=True)


@pytest.mark.parametrize("top_k", [0, 1, 7, 5000])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.2])
@pytest.mark.parametrize("width", [40, 3000])
def test_filters_are_those_of_the_library(top_k: int, top_p: float, width: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, width) * 2
    expected = TemperatureLogitsWarper(0.7)(None, logits)
    if top_k:
        expected = TopKLogitsWarper(min(top_k, width))(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    found = _distribution(logits, Filters(0.7, top_k, top_p))
    torch.testing.assert_close(found, expected.softmax(-1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("filters", [Filters(), Filters(top_k=3), Filters(top_p=0.8)])
def test_evenly_spaced_uniforms_give_each_token_its_share(filters: Filters) -> None:
    logits = torch.tensor([[2.0, 0.5, -1.0, 1.0, -torch.inf]])
    count = 20_000
    uniforms = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    drawn = draw(logits.expand(count, -1), uniforms, filters)
    shares = torch.bincount(drawn, minlength=5) / count
    torch.testing.assert_close(shares, _distribution(logits, filters)[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("filters", [Filters(), Filters(top_k=4), Filters(top_p=0.6)])
def test_the_ends_of_the_unit_interval_draw_tokens_that_may_come(filters: Filters) -> None:
    logits = torch.tensor([[-torch.inf, 1.0, 2.0, -torch.inf]])
    allowed = _distribution(logits, filters)[0] > 0
    for end in (0.0, 1.0 - 2**-53):
        token = draw(logits, torch.tensor([end], dtype=torch.float64), filters)
        assert allowed[token]


@pytest.mark.parametrize("scale", [0.1, 5.0])
def test_the_nucleus_is_the_same_among_the_best_tokens_and_in_the_sorted_vocabulary(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = scale * torch.randn(50, 3000, generator=torch.Generator().manual_seed(0))
    uniforms = torch.linspace(0, 1 - 1e-6, 50, dtype=torch.float64)
    drawn = []
    for guess in (1, 2999):
        monkeypatch.setattr(sampling, "_FIRST_GUESS", guess)
        drawn.append(draw(logits, uniforms, Filters(top_p=0.9)))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("filters", [Filters(top_k=5, top_p=0.5), Filters(top_p=0.5), Filters()])
def test_drawing_asks_for_no_number_that_is_on_a_device(filters: Filters) -> None:
    """On the meta device there are none: who asks fails."""
    logits = torch.empty(4, 3000, device="meta")
    uniforms = torch.empty(4, dtype=torch.float64, device="meta")
    assert draw(logits, uniforms, filters).shape == (4,)
    assert remaining(logits, filters).shape == (4, 3000)


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(top_k=50_000),
        pytest.param(Filters(top_p=0.999_999), marks=pytest.mark.slow),
    ],
)
def test_rare_tokens_of_a_large_vocabulary_have_their_exact_share(filters: Filters) -> None:
    """The uniforms that draw a token fill its share of [0, 1), to a thousandth of that share."""
    width = 50_257
    generator = torch.Generator().manual_seed(0)
    logits = -1.6 * torch.arange(1.0, width + 1).log()[None]
    logits[0, 0] += 4  # more than nine tenths
    logits = logits[:, torch.randperm(width, generator=generator)]
    kept = candidates(logits, filters)
    shares = kept.probabilities[0].double() / kept.probabilities.double().sum()
    chosen = torch.arange(len(shares))[shares > 0][::4000]
    chosen = torch.cat([chosen, shares.topk(12).indices])
    assert ((shares[chosen] > 1e-6).sum() > 10) and (shares[chosen] < 1e-7).sum() > 8
    upper = shares.cumsum(0)[chosen]
    found = _ends(logits, filters, chosen + 1, upper) - _ends(
        logits, filters, chosen, upper - shares[chosen]
    )
    torch.testing.assert_close(found, shares[chosen], rtol=1e-3, atol=0)


def _ends(logits: Tensor, filters: Filters, first: Tensor, near: Tensor) -> Tensor:
    """[M] the least uniforms that draw a candidate at ``first`` [M] or later, by bisection."""
    tokens = candidates(logits, filters).tokens
    order = torch.arange(logits.shape[-1])
    places = order if tokens is None else order.scatter(0, tokens[0], order[: len(tokens[0])])
    low, high = (near - 2e-7).clamp(min=0), (near + 2e-7).clamp(max=1)
    while (high - low).max() > 1e-13:
        middle = (low + high) / 2
        drawn = draw(logits.expand(len(first), -1), middle, filters)
        reached = places[drawn] >= first
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return high


@pytest.mark.parametrize("top_p", [1.0, 0.695])
@pytest.mark.parametrize("on_cpu", [True, False])
def test_tokens_as_good_as_the_last_of_the_best_ones_are_kept(
    top_p: float, on_cpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits in bfloat16 tie often; the last rows are all equal, and forbidden but for three."""
    if not on_cpu:
        monkeypatch.setattr(sampling, "_is_quick_to_ask", lambda tensor: False)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 300, generator=generator).bfloat16().float()
    logits[-2] = 1.0
    logits[-1, 3:] = -torch.inf
    kept = remaining(logits, Filters(top_k=20))
    expected = TopKLogitsWarper(20)(None, logits)
    assert torch.equal(kept, expected > -torch.inf)
    assert kept.sum(-1).tolist() != [20] * 38 + [300, 3]
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    # Which of equal tokens top-p keeps is up to the order.
    found = _distribution(logits, Filters(top_k=20, top_p=top_p))
    ours, theirs = found.sort(-1).values, expected.softmax(-1).sort(-1).values
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
