"""Kullback-Leibler divergence between policy and reference, and the control of its coefficient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from common.training.shape_checks import check_shape
from grue.rl.tolerance import LOG_PROB_ROUNDING

_LARGEST_ERROR = 0.2
_GAIN = 0.1
_LARGEST_LOG_RATIO = 20.0


def kl_k1(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """Return [...] log pi(a) - log ref(a) of sampled tokens; its mean under pi is KL(pi || ref).

    As a loss it has an expected gradient of zero on-policy, that of the mean score function.
    """
    check_shape("ref_log_probs", ref_log_probs, log_probs.shape)
    return log_probs - ref_log_probs


def beyond_rounding(kl: Tensor, log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """Return KL [M], and zero at tokens where it and the log-ratio are no more than rounding.

    So a policy that is still its reference has no penalty, in float32. What rounding leaves of one
    must not be divided by its own size, neither by a standard deviation nor by Adam.
    """
    for name, each in (("log_probs", log_probs), ("ref_log_probs", ref_log_probs)):
        check_shape(name, each, kl.shape)
    known = torch.stack([log_probs.detach() - ref_log_probs, kl.detach()])
    return torch.where((known.abs() > LOG_PROB_ROUNDING).any(0), kl, 0.0)


def kl_full(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """Return [...] KL(pi || ref) in nats, of distributions over the whole vocabulary.

    Its gradient in the policy's logits z is pi_a (log pi_a / ref_a - KL).

    Args:
        logits: [..., V] of the policy; -inf for tokens that are masked out.
        ref_logits: [..., V] of the reference.

    Raises:
        ValueError: their shapes differ.
    """
    check_shape("ref_logits", ref_logits, logits.shape)
    log_probs = logits.log_softmax(-1)
    probs = log_probs.exp()
    difference = (log_probs - ref_logits.log_softmax(-1)).masked_fill(probs == 0, 0.0)
    divergence = (probs * difference).sum(-1)
    # Rounding can make that of near-equal distributions negative; the gradient stays its own.
    return divergence + (divergence.clamp(min=0) - divergence).detach()


def kl_k2(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """Return [...] (log pi(a) - log ref(a))^2 / 2 of sampled tokens (Schulman 2020).

    Its mean under pi is near KL(pi || ref) where both are close. As a loss, with the prefix fixed,
    its expected gradient is that of KL(pi || ref); the gradient through later tokens needs the KL
    in the reward.
    """
    check_shape("ref_log_probs", ref_log_probs, log_probs.shape)
    return (log_probs - ref_log_probs).square() / 2


def kl_k3(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """Return [...] (r - 1) - log r with r = ref / pi, which is never negative.

    Its mean under pi is KL(pi || ref), as that of `kl_k1`. Schulman's note on approximating KL
    divergence (2020) calls it k3. As a loss, with the prefix fixed, its expected gradient is that
    of the other direction, KL(ref || pi).
    """
    check_shape("ref_log_probs", ref_log_probs, log_probs.shape)
    log_ratio = ref_log_probs - log_probs
    return probability_ratio(ref_log_probs, log_probs) - 1 - log_ratio


KL_ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "k1": kl_k1,
    "k2": kl_k2,
    "k3": kl_k3,
}
"""Estimators from the log-probabilities of sampled tokens, by the name that a plan gives."""


def probability_ratio(log_probs: Tensor, other_log_probs: Tensor) -> Tensor:
    """Return [...] pi(a) / other(a), clamped to [e^-20, e^20] so that it cannot overflow."""
    check_shape("other_log_probs", other_log_probs, log_probs.shape)
    difference = log_probs - other_log_probs
    return difference.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO).exp()


class KlController:
    """The coefficient of the KL penalty: fixed, or adapted to a target (Ziegler et al. 2019)."""

    def __init__(self, coefficient: float, target: float | None = None) -> None:
        """Set ``coefficient``, in reward per nat, and ``target``, in nats.

        None keeps the coefficient.
        """
        self.coefficient = coefficient
        self.target = target

    def update(self, measured: float, gain: float = _GAIN) -> None:
        """Move the coefficient towards the target, by at most a fifth of ``gain``.

        beta <- beta (1 + gain e) with e = clip((measured - target) / target, -0.2, 0.2). The
        published code of arXiv 1909.08593 has n / horizon for ``gain``, where n is the number of
        measured outputs, and ``measured`` is the mean KL per output. The default follows RL4LMs,
        where ``measured`` is the mean KL per token.
        """
        if self.target is None:
            return
        error = (measured - self.target) / self.target
        self.coefficient *= 1 + gain * max(-_LARGEST_ERROR, min(_LARGEST_ERROR, error))

    def state_dict(self) -> dict[str, float]:
        """Return the state that `load_state_dict` restores."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore a saved coefficient."""
        self.coefficient = state["coefficient"]
