"""Advantages of outputs that are right or wrong, which push where a group's mean cannot.

Axis letters: B inputs, K samples per input, n responses, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.training.shape_checks import check_axes, check_shape, check_shapes
from grue.rl.group_advantages import Groups
from grue.rl.selection import at_least


def right_or_wrong(rewards: Tensor, best: float) -> Tensor:
    """Return [B, K] +1 for rewards from ``best`` up, and -1 for lower ones.

    Without a baseline every output pushes (positive and negative sample reinforcement, Zhu et al.
    2025, arXiv 2506.01347).
    """
    return torch.where(at_least(rewards, best), 1.0, -1.0).to(rewards)


def weighted_by_sign(advantages: Tensor, positive: float, negative: float) -> Tensor:
    """Return advantages of any shape, times a weight for those above 0 and one for those below.

    The weight 0.1 of positive ones is W-REINFORCE (arXiv 2506.01347).
    """
    return advantages.clamp(min=0) * positive + advantages.clamp(max=0) * negative


def silent_signs(groups: Groups, best: float) -> Tensor:
    """Return [B] +1 for silent groups of right outputs, -1 for wrong ones, 0 for no silence.

    Args:
        groups: verdicts on B groups.
        best: reward of a right output, by what decides on the groups.
    """
    check_shape("first", groups.first, groups.deviate.shape)
    return torch.where(groups.deviate, 0.0, right_or_wrong(groups.first[:, None], best)[:, 0])


def entropy_shaped(entropies: Tensor, mask: Tensor, signs: Tensor) -> Tensor:
    """Return [n, T] advantages of silent groups by entropies H, before their factor alpha.

    These are H for the sign +1, -(max over the response of H - H) for -1, and 0 for 0 (RL-ZVP, Le
    et al. 2025, arXiv 2509.21880). They have no gradient.

    Args:
        entropies: [n, T] of the tokens' distributions.
        mask: [n, T] bool, true at the responses' tokens.
        signs: [n].
    """
    check_axes("entropies", entropies, "nT")
    check_shapes(entropies.shape, mask=mask)
    check_shape("signs", signs, entropies.shape[:1])
    entropies = torch.where(mask, entropies.detach(), 0.0)
    below_largest = entropies.amax(1, keepdim=True) - entropies
    signs = signs[:, None]
    return (signs.clamp(min=0) * entropies + signs.clamp(max=0) * below_largest) * mask
