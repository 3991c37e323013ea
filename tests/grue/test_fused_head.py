"""Statistics of distributions from hidden states, against those of whole logits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from grue.models import products
from grue.policies import vocabulary_blocks
from grue.policies.distribution import TokenDistribution
from grue.policies.fused_head import FusedDistributions, Slopes, Statistics, log_probs_of
from grue.policies.mask_ops import packed
from grue.policies.vocabulary_blocks import Head
from grue.rl.kl import kl_full

M, H, V = 7, 5, 77
NEEDS_ONEDNN = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="PyTorch is built without oneDNN"
)


@pytest.fixture(params=["kept", "recomputed"], autouse=True)
def _small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the vocabulary several blocks, the last of which is not full."""
    monkeypatch.setattr(vocabulary_blocks, "_CPU_ENTRIES", 0)
    monkeypatch.setattr(vocabulary_blocks, "_LEAST_WIDTH", 16)
    share = {"kept": M, "recomputed": 0}[request.param]
    monkeypatch.setattr(vocabulary_blocks, "_KEPT_SHARE", share)


class Case:
    """Made-up states, layers, tokens and slopes, in float64."""

    def __init__(self, scale: float = 3.0, *, masked: bool = False, kl: bool = False) -> None:
        draw = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.policy = Head(normal(M, H).requires_grad_(), (scale * normal(V, H)).requires_grad_())
        self.reference = Head(normal(M, H), normal(V, H)) if kl else None
        self.tokens = torch.randint(V, (M,), generator=draw)
        self.tokens[:2] = torch.tensor([0, V - 1])
        self.allowed: Tensor | None = None
        if masked:
            self.allowed = torch.rand(M, V, generator=draw) < 0.2
            self.allowed[0, 1:] = False  # only the token that was drawn
            self.allowed[torch.arange(M), self.tokens] = True
        self.slopes = normal(3, M)

    def fused(self) -> FusedDistributions:
        return FusedDistributions(
            self.policy, self.tokens, allowed=self.bits, reference=self.reference
        )

    @property
    def bits(self) -> Tensor | None:
        """The packed mask."""
        return None if self.allowed is None else packed(self.allowed)

    def plain(self) -> tuple[Tensor, Statistics]:
        """The logits, and what follows from them."""
        logits = self.policy.states @ self.policy.weight.T
        found = TokenDistribution(logits, self.bits)
        kl = None
        if self.reference is not None:
            kl = kl_full(logits, self.reference.states @ self.reference.weight.T)
        return logits, Statistics(found.log_prob(self.tokens), found.entropy(), kl)

    def loss(self, found: Statistics) -> Tensor:
        terms = zip(self.slopes, found, strict=True)
        return torch.stack([(slope * of).sum() for slope, of in terms if of is not None]).sum()


def cases() -> Iterator[Case]:
    yield Case()
    yield Case(kl=True)
    yield Case(masked=True)
    yield Case(scale=100.0, kl=True)  # most probabilities are 0 or 1


@pytest.mark.parametrize("case", list(cases()), ids=["plain", "kl", "masked", "peaked"])
def test_statistics_and_gradients_are_those_of_whole_logits(case: Case) -> None:
    fused, (logits, plain) = case.fused(), case.plain()
    for found, expected in zip(fused.statistics, plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    own = torch.autograd.grad(case.loss(fused.statistics), list(case.policy))
    expected = torch.autograd.grad(case.loss(plain), [*case.policy, logits])
    torch.testing.assert_close(own, expected[:2], rtol=1e-10, atol=1e-10)
    slopes = Slopes(*(of if had is not None else None
                          for of, had in zip(case.slopes, plain, strict=True)))  # fmt: skip
    norm = fused.squared_gradient_norm(slopes)
    torch.testing.assert_close(norm, expected[2].square().sum(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 8.0, 100.0])
def test_closed_form_of_the_score_is_exact_beside_a_probability_near_one(scale: float) -> None:
    case = Case(scale)
    logits, _ = case.plain()
    case.tokens = logits.argmax(-1)
    slopes = Slopes(case.slopes[0])
    found = case.fused().squared_gradient_norm(slopes)
    log_probs = TokenDistribution(logits).log_prob(case.tokens)
    (expected,) = torch.autograd.grad((case.slopes[0] * log_probs).sum(), logits)
    torch.testing.assert_close(found, expected.square().sum(), rtol=1e-9, atol=1e-30)


def test_loss_of_one_statistic_leaves_the_others_without_a_slope() -> None:
    for number, name in enumerate(Statistics._fields):
        case = Case(kl=True)
        found = torch.autograd.grad(case.fused().statistics[number].sum(), list(case.policy))
        expected = torch.autograd.grad(case.plain()[1][number].sum(), list(case.policy))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10, msg=name)


def test_log_probs_without_the_mask_come_from_the_same_pass() -> None:
    case = Case(masked=True)
    assert case.allowed is not None
    logits, _ = case.plain()
    logits.data[1] *= 40.0  # forbidden tokens are far above the allowed ones
    expected = TokenDistribution(logits.detach()).log_prob(case.tokens)
    case.policy = Head(logits.detach(), torch.eye(V, dtype=logits.dtype))
    found = case.fused()
    assert not found.unmasked_log_probs.requires_grad
    torch.testing.assert_close(found.unmasked_log_probs, expected, rtol=1e-12, atol=1e-12)
    within = TokenDistribution(logits.detach(), case.bits).log_prob(case.tokens)
    torch.testing.assert_close(found.statistics.log_probs, within, rtol=1e-12, atol=1e-12)


def test_forbidden_token_has_no_probability() -> None:
    case = Case(masked=True)
    assert case.allowed is not None
    case.allowed[3, case.tokens[3]] = False
    assert case.fused().statistics.log_probs[3] < -1e20


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_token_that_is_masked_everywhere_has_no_gradient_at_all(dtype: torch.dtype) -> None:
    states = torch.full((M, H), 1e3, dtype=dtype)
    weight = torch.zeros(V, H, dtype=dtype, requires_grad=True)
    allowed = torch.arange(V).expand(M, V) != 5
    tokens = torch.zeros(M, dtype=torch.long)
    found = FusedDistributions(Head(states, weight), tokens, allowed=packed(allowed))
    (1e3 * found.statistics.log_probs.sum()).backward()
    assert weight.grad is not None
    assert (weight.grad[5] == 0).all() and (weight.grad[6] != 0).all()


def test_second_backward_pass_leaves_the_gradients_of_the_first() -> None:
    policy = Case().policy
    loss = FusedDistributions(policy, Case().tokens).statistics.log_probs.sum()
    first = torch.autograd.grad(loss, [*policy], retain_graph=True)
    kept = [each.clone() for each in first]
    twice = torch.autograd.grad(loss, [*policy], torch.tensor(2.0, dtype=torch.float64))
    for own, expected, other in zip(first, kept, twice, strict=True):
        torch.testing.assert_close(own, expected)
        torch.testing.assert_close(other, 2 * expected)


def test_constant_layer_gets_no_gradient_and_constants_no_graph() -> None:
    case = Case()
    case.policy.weight.requires_grad_(False)
    found = case.fused().statistics.log_probs
    (own,) = torch.autograd.grad(found.sum(), [case.policy.states])
    (expected,) = torch.autograd.grad(case.plain()[1].log_probs.sum(), [case.policy.states])
    torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)
    known = log_probs_of(case.policy, case.tokens)
    assert not known.requires_grad
    torch.testing.assert_close(known, found.detach())


def test_half_width_layer_has_a_gradient_of_its_type() -> None:
    case = Case()
    half = case.policy.weight.detach().bfloat16()
    states = case.policy.states.detach().float()
    for weight in (half, half.float()):
        weight.requires_grad_()
        found = FusedDistributions(Head(states, weight), case.tokens).statistics
        found.log_probs.sum().backward()
        assert weight.grad is not None and weight.grad.dtype == weight.dtype
    exact = half.detach().float().requires_grad_()
    TokenDistribution(states @ exact.T).log_prob(case.tokens).sum().backward()
    torch.testing.assert_close(half.grad, exact.grad.bfloat16())


def test_tokens_of_another_number_are_an_error() -> None:
    case = Case()
    with pytest.raises(ValueError, match="tokens"):
        FusedDistributions(case.policy, case.tokens[1:])


@pytest.mark.parametrize("by_onednn", [pytest.param(True, marks=NEEDS_ONEDNN), False])
@pytest.mark.parametrize("case", [Case(kl=True), Case(masked=True)], ids=["kl", "masked"])
def test_float32_is_float64_rounded_whatever_makes_the_products(
    case: Case, by_onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with rows added to those asked for, as oneDNN has them."""
    monkeypatch.setattr(products, "_LEAST_SIZE", 0)
    monkeypatch.setattr(products, "is_mkl_slow", lambda: by_onednn)
    expected = case.fused()
    of_expected = torch.autograd.grad(case.loss(expected.statistics), list(case.policy))

    def narrow(head: Head) -> Head:
        return Head(*(part.detach().float().requires_grad_() for part in head))

    norm = expected.squared_gradient_norm(Slopes(*case.slopes[:2]))
    case.policy, case.slopes = narrow(case.policy), case.slopes.float()
    case.reference = None if case.reference is None else narrow(case.reference)
    found = case.fused()
    assert case.policy.is_by_onednn == by_onednn
    pairs = [*zip(found.statistics, expected.statistics, strict=True),
             (found.unmasked_log_probs, expected.unmasked_log_probs),
             (found.squared_gradient_norm(Slopes(*case.slopes[:2])), norm)]  # fmt: skip
    pairs += zip(
        torch.autograd.grad(case.loss(found.statistics), list(case.policy)),
        of_expected,
        strict=True,
    )
    pairs.append((log_probs_of(case.policy, case.tokens), expected.unmasked_log_probs))
    for own, exact in pairs:
        if exact is not None:
            torch.testing.assert_close(own, exact.float(), rtol=1e-5, atol=1e-5)
