"""Policy losses per token, and the probability ratios that they weigh advantages by.

Axis letters: n responses, T tokens. A loss is registered in `grue.rl.tables` by the name that a
plan gives; `grue.rl.aggregation` makes one number of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.errors import UserError
from common.training.shape_checks import check_axes, check_shapes
from grue.rl.kl import probability_ratio
from grue.rl.tables import POLICY_LOSSES, checked_result


def policy_ratios(log_probs: Tensor, old_log_probs: Tensor, mask: Tensor, kind: str) -> Tensor:
    """Return [n, T] ratios pi / pi_old, whose gradient flows through each token's own log pi.

    Args:
        log_probs: [n, T] of the sampled tokens, under the policy.
        old_log_probs: [n, T] under the policy that sampled them.
        mask: [n, T] bool, true at the responses' tokens.
        kind: ``token`` for each token's ratio; ``sequence`` for the geometric mean of its
            response's ratios (GSPO, arXiv 2507.18071, equations 7 and 14); ``sequence_product`` for
            their product, the ratio of the whole response (RLOO).
    """
    check_axes("log_probs", log_probs, "nT")
    check_shapes(log_probs.shape, old_log_probs=old_log_probs, mask=mask)
    if kind == "token":
        return probability_ratio(log_probs, old_log_probs)
    log_ratios = torch.where(mask, (log_probs - old_log_probs).detach(), 0.0).sum(1, keepdim=True)
    if kind == "sequence":
        log_ratios = log_ratios / mask.sum(1, keepdim=True).clamp(min=1)
    of_response = probability_ratio(log_ratios, torch.zeros_like(log_ratios))
    return of_response * (log_probs - log_probs.detach()).exp()


def policy_gradient(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Return [...] -A log pi(a) of each token (Williams 1992)."""
    check_shapes(log_probs.shape, advantages=advantages)
    return -advantages * log_probs


def reinforce(
    log_probs: Tensor, ratios: Tensor, advantages: Tensor, clip_range: float, clip_range_high: float
) -> Tensor:
    """Return [...] `policy_gradient`, without a ratio."""
    check_shapes(log_probs.shape, ratios=ratios)
    return policy_gradient(log_probs, advantages)


def clipped(
    log_probs: Tensor, ratios: Tensor, advantages: Tensor, clip_range: float, clip_range_high: float
) -> Tensor:
    """Return [...] -min(w A, clip(w, 1 - low, 1 + high) A).

    This is PPO's surrogate (Schulman et al. 2017, equation 7); a larger range above is DAPO's
    clip-higher (arXiv 2503.14476).
    """
    check_shapes(log_probs.shape, ratios=ratios, advantages=advantages)
    inside = ratios.clamp(1 - clip_range, 1 + clip_range_high)
    return -torch.minimum(ratios * advantages, inside * advantages)


def cispo(
    log_probs: Tensor, ratios: Tensor, advantages: Tensor, clip_range: float, clip_range_high: float
) -> Tensor:
    """Return [...] -min(w, 1 + high) A log pi(a), the capped ratio a constant.

    No token loses its gradient (CISPO, arXiv 2506.13585, equation 4).
    """
    check_shapes(log_probs.shape, ratios=ratios, advantages=advantages)
    return -ratios.detach().clamp(max=1 + clip_range_high) * advantages * log_probs


def token_losses(
    name: str,
    log_probs: Tensor,
    ratios: Tensor,
    advantages: Tensor,
    clip_ranges: tuple[float, float],
) -> Tensor:
    """Return [n, T] the losses of tokens by the function called ``name``.

    Args:
        name: name in `POLICY_LOSSES`, or of a user's own function.
        log_probs: [n, T] of the sampled tokens, under the policy.
        ratios: [n, T], see `policy_ratios`.
        advantages: [n, T].
        clip_ranges: largest distances of a ratio below and above 1.

    Raises:
        UserError: a user's own function fails, or returns anything but [n, T] numbers, or a
            constant.
    """
    found = POLICY_LOSSES[name](log_probs, ratios, advantages, *clip_ranges)
    losses: Tensor = checked_result(name, found, log_probs.shape)
    if torch.is_grad_enabled() and log_probs.requires_grad and not losses.requires_grad:
        raise UserError(
            f"'{name}' returned a loss without a gradient; compute it of 'log_probs' or 'ratios', "
            "not detached"
        )
    return losses


def clip_shares(
    ratios: Tensor, advantages: Tensor, clip_range: float, clip_range_high: float
) -> tuple[Tensor, Tensor]:
    """Return [...] both bool: tokens that `clipped` holds at the lower and at the upper bound."""
    check_shapes(ratios.shape, advantages=advantages)
    low = (ratios < 1 - clip_range) & (advantages < 0)
    high = (ratios > 1 + clip_range_high) & (advantages > 0)
    return low, high


def ratio_means(
    ratios: Tensor, advantages: Tensor, clip_range: float, clip_range_high: float
) -> dict[str, Tensor]:
    """Return [] the means over all tokens of ratios and `clip_shares`, by metric name."""
    low, high = clip_shares(ratios, advantages, clip_range, clip_range_high)
    found = {"ratio/mean": ratios, "clip_share/low": low, "clip_share/high": high}
    return {name: values.detach().float().mean() for name, values in found.items()}
