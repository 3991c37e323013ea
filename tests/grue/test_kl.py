"""KL estimates of one divergence, and the published controller."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from grue.rl.group_advantages import rewards_to_go
from grue.rl.kl import KlController, kl_full, kl_k1, kl_k2, kl_k3

FLOAT64 = {"dtype": torch.float64}


def test_estimates_have_the_exact_divergence_as_their_mean() -> None:
    torch.manual_seed(0)
    logits, ref_logits = torch.randn(2, 3, 7, **FLOAT64)
    log_probs, ref_log_probs = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    exact = kl_full(logits, ref_logits)
    for estimate in (kl_k1, kl_k3):
        mean = (log_probs.exp() * estimate(log_probs, ref_log_probs)).sum(-1)
        torch.testing.assert_close(mean, exact)
    assert (kl_k3(log_probs, ref_log_probs) >= 0).all()
    kl_div = torch.nn.functional.kl_div(
        ref_log_probs, log_probs, log_target=True, reduction="none"
    ).sum(-1)
    torch.testing.assert_close(exact, kl_div)


def test_the_exact_gradient_is_that_of_its_formula() -> None:
    logits = torch.randn(5, requires_grad=True, **FLOAT64)
    ref_logits = torch.randn(5, **FLOAT64)
    divergence = kl_full(logits, ref_logits)
    (grad,) = torch.autograd.grad(divergence, logits)
    log_ratio = logits.log_softmax(-1) - ref_logits.log_softmax(-1)
    torch.testing.assert_close(grad, logits.softmax(-1) * (log_ratio - divergence))


def test_it_is_not_negative_where_distributions_are_nearly_equal() -> None:
    torch.manual_seed(0)
    logits = torch.randn(200, 1000) * 3
    near = (logits + 1e-6 * torch.randn(200, 1000)).requires_grad_()
    log_probs, ref_log_probs = near.log_softmax(-1), logits.log_softmax(-1)
    assert ((log_probs.exp() * (log_probs - ref_log_probs)).sum(-1) < 0).any()
    divergence = kl_full(near, logits)
    assert (divergence >= 0).all()
    (grad,) = torch.autograd.grad(divergence.sum(), near)
    plain = (log_probs.exp() * (log_probs - ref_log_probs)).sum(-1)
    (expected,) = torch.autograd.grad(plain.sum(), near)
    assert torch.equal(grad, expected) and bool(grad.any())


def test_tokens_that_may_not_come_have_no_share() -> None:
    logits = torch.tensor([1.0, 0.0, -torch.inf], requires_grad=True, **FLOAT64)
    ref_logits = torch.tensor([0.0, 1.0, 2.0], **FLOAT64)
    divergence = kl_full(logits, ref_logits)
    divergence.backward()
    kept = logits.detach()[:2].softmax(-1)
    ref = ref_logits.softmax(-1)[:2]
    torch.testing.assert_close(divergence.detach(), (kept * (kept / ref).log()).sum())
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_what_a_token_does_to_later_ones_needs_k1_in_the_reward_to_go() -> None:
    """All sequences of two tokens of three, the second with logits by the first."""
    torch.manual_seed(0)
    first = torch.randn(3, requires_grad=True, **FLOAT64)
    second = torch.randn(3, 3, requires_grad=True, **FLOAT64)
    references = torch.randn(3, **FLOAT64), torch.randn(3, 3, **FLOAT64)

    def of_tokens(first: Tensor, second: Tensor) -> Tensor:
        """[9, 2] log-probabilities of the tokens of each sequence."""
        of_first = first.log_softmax(-1)[:, None].expand(3, 3)
        return torch.stack([of_first, second.log_softmax(-1)], -1).view(9, 2)

    log_probs, ref_log_probs = of_tokens(first, second), of_tokens(*references)
    probs, every = log_probs.sum(1).exp(), torch.ones(9, 2, dtype=torch.bool)

    def gradients(loss: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss, (first, second), retain_graph=True)

    exact = gradients(probs @ kl_k1(log_probs, ref_log_probs).sum(1))
    to_go = rewards_to_go(kl_k1(log_probs, ref_log_probs).detach(), every)
    of_rewards = gradients(probs.detach() @ (to_go * log_probs).sum(1))
    torch.testing.assert_close(of_rewards, exact)
    for estimate in (kl_k2, kl_k3):
        of_first, of_second = gradients(probs.detach() @ estimate(log_probs, ref_log_probs).sum(1))
        assert (of_first - exact[0]).norm() > 0.1 * exact[0].norm()
        is_exact = torch.allclose(of_second, exact[1])
        assert is_exact == (estimate is kl_k2), "the last token has no later ones"


def test_the_controller_gives_the_published_values() -> None:
    controller = KlController(0.1, 0.1)
    for measured, expected in ((-0.2, 0.098), (0.3, 0.09996), (0.105, 0.1004598)):
        controller.update(measured)
        assert controller.coefficient == pytest.approx(expected, abs=1e-9)
    again = KlController(7.0, 0.1)
    again.load_state_dict(controller.state_dict())
    assert again.coefficient == controller.coefficient


def test_without_a_target_the_coefficient_stays() -> None:
    controller = KlController(0.3)
    controller.update(100.0)
    assert controller.coefficient == 0.3


def test_the_published_example() -> None:
    logits = torch.tensor([1.0, 0.0, -1.0], requires_grad=True, **FLOAT64)
    ref_logits = torch.tensor([0.5, 0.5, -1.0], **FLOAT64)
    divergence = kl_full(logits, ref_logits)
    assert divergence.item() == pytest.approx(0.101566, abs=1e-6)
    (grad,) = torch.autograd.grad(divergence, logits)
    assert grad.tolist() == pytest.approx([0.192749, -0.173820, -0.018929], abs=1e-6)
    sampled = kl_k1(logits.log_softmax(-1), ref_logits.log_softmax(-1))
    assert sampled.tolist() == pytest.approx([0.39131, -0.60869, -0.10869], abs=1e-5)


@pytest.mark.parametrize(("measured", "after"), [(0, 0.148464), (9, 0.151536), (6.3, 0.150384)])
def test_the_coefficient_follows_whole_outputs_over_a_horizon(
    measured: float, after: float
) -> None:
    controller = KlController(0.15, 6.0)
    controller.update(measured, 512 / 10_000)
    assert controller.coefficient == pytest.approx(after, abs=1e-9)
