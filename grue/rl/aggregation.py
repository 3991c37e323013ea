"""Aggregation of token losses into one number, as the weight of each response's tokens.

An aggregation is a weighted sum, whose weights depend on lengths alone. They are taken over a whole
optimiser step, so that the sum over its micro-batches and processes is the same however they are
cut. Axis letters: B inputs, K responses per input, n responses, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.training.shape_checks import check_axes, check_shape, check_shapes
from grue.rl.tables import AGGREGATIONS, checked_result


def token_mean(lengths: Tensor, longest: int) -> Tensor:
    """Return [B, K] 1 / (number of all tokens): long responses count more (PPO, DAPO)."""
    return torch.ones_like(lengths) / lengths.sum()


def sequence_mean(lengths: Tensor, longest: int) -> Tensor:
    """Return [B, K] 1 / (B K length): the mean over responses of their token means.

    This is GRPO as first published (Shao et al. 2024, arXiv 2402.03300, equation 3).
    """
    return 1 / (lengths.numel() * lengths)


def sequence_sum(lengths: Tensor, longest: int) -> Tensor:
    """Return [B, K] 1 / (B K): the mean over responses of their sums (REINFORCE, RLOO)."""
    return torch.full_like(lengths, 1 / lengths.numel())


def sequence_sum_norm(lengths: Tensor, longest: int) -> Tensor:
    """Return [B, K] 1 / (B K longest), which no response's length changes.

    Dr. GRPO (Liu et al. 2025, arXiv 2503.20783) divides by the longest allowed length.
    """
    return torch.full_like(lengths, 1 / (lengths.numel() * longest))


def prompt_mean(lengths: Tensor, longest: int) -> Tensor:
    """Return [B, K] 1 / (B times the tokens of all responses of the input).

    This is the mean over inputs of their token means, as DAPO (arXiv 2503.14476, equation 8) and
    CISPO (arXiv 2506.13585) are printed.
    """
    of_inputs = lengths.sum(1, keepdim=True)
    return (1 / (len(lengths) * of_inputs)).expand_as(lengths)


def token_weights(aggregation: str, lengths: Tensor, longest: int) -> Tensor:
    """Return [B, K] the weight of a token of each response of an optimiser step.

    Args:
        aggregation: name in `AGGREGATIONS`, or of a user's own function.
        lengths: [B, K] number of tokens of each response.
        longest: largest number of tokens that a response may have.

    Raises:
        UserError: a user's own function fails, or returns anything but [B, K] numbers.
    """
    check_axes("lengths", lengths, "BK")
    lengths = lengths.double().clamp(min=1)
    found = AGGREGATIONS[aggregation](lengths, longest)
    weights: Tensor = checked_result(aggregation, found, lengths.shape)
    return weights


def aggregate(losses: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Return [] the sum of token losses [n, T] inside the mask [n, T] by response weights [n]."""
    check_axes("losses", losses, "nT")
    check_shapes(losses.shape, mask=mask)
    check_shape("weights", weights, losses.shape[:1])
    return (torch.where(mask, losses, 0.0) * weights[:, None]).sum()
