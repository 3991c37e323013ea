"""Advantages of whole outputs from the rewards of their group, the K outputs of one input.

A baseline is subtracted from a reward, and a scale divides what is left. Axis letters: B inputs, K
samples per input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.training.shape_checks import check_axes, check_shape
from grue.rl.numeric_equality import are_equal, centred, scale_of
from grue.rl.tolerance import TOLERANCE

STD_EPSILON = 1e-4
"""Constant added to a group's std, as in TRL."""


def group(rewards: Tensor, tolerance: float) -> Tensor:
    """Return [B, K] rewards minus their group's mean (GRPO, arXiv 2402.03300)."""
    return centred(rewards, tolerance=tolerance)


def leave_one_out(scores: Tensor, tolerance: float = TOLERANCE) -> Tensor:
    """Return [B, K] scores minus the mean of their input's other scores (RLOO, Kool et al. 2019).

    Scores of an input that are equal within ``tolerance``, see `are_equal`, give zeros.

    Raises:
        ValueError: there is one score per input.
    """
    check_axes("scores", scores, "BK")
    num_samples = scores.shape[1]
    if num_samples < 2:
        raise ValueError("a leave-one-out baseline needs two samples per input")
    # What a score is above the mean of the others is its deviation from that of all, a little more.
    return centred(scores, tolerance=tolerance) * num_samples / (num_samples - 1)


BASELINES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "group": group,
    "leave_one_out": leave_one_out,
}
"""Functions of rewards [B, K] and a tolerance, by the name that a plan gives."""


def group_std(rewards: Tensor, centred_rewards: Tensor, epsilon: float = STD_EPSILON) -> Tensor:
    """Return [B, 1] the std within each group, less one degree of freedom, plus 1e-4."""
    return scale_of(rewards) + epsilon


def bare_group_std(rewards: Tensor, centred_rewards: Tensor) -> Tensor:
    """Return [B, 1] the std within each group alone, 1 where rewards are equal.

    The published epsilon would shrink the advantages of tiny rewards.
    """
    return group_std(rewards, centred_rewards, epsilon=0.0)


def batch_std(rewards: Tensor, centred_rewards: Tensor) -> Tensor:
    """Return [] the std of all centred rewards, groups without deviation counted.

    1 where none deviates (ScaleRL, arXiv 2510.13786).
    """
    return scale_of(centred_rewards.flatten()).squeeze()


def rollout_std(rewards: Tensor, centred_rewards: Tensor) -> Tensor:
    """Return [] the std of all rewards about their common mean; 1 where none deviates.

    Published runs of arXiv 2604.25872 divide rewards by it and keep their mean, which every
    baseline takes out again.
    """
    return scale_of(rewards.flatten()).squeeze()


def group_mean(rewards: Tensor, centred_rewards: Tensor) -> Tensor:
    """Return [B, 1] the mean reward of each group (MaxRL, arXiv 2602.02710), for rewards from 0 up.

    It is infinite where it is not above 0, so that advantages become 0 there.
    """
    mean = rewards.mean(1, keepdim=True)
    return torch.where(mean > 0, mean, torch.inf)


SCALES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "group_std": group_std,
    "bare_group_std": bare_group_std,
    "batch_std": batch_std,
    "rollout_std": rollout_std,
    "group_mean": group_mean,
}
"""Divisors from rewards and centred rewards [B, K], by the name that a plan gives; the bare one is
that of REINFORCE with ``group_standardized``."""


def deviates(rewards: Tensor, tolerance: float) -> Tensor:
    """Return [B] whether a group's rewards differ by more than a share of the largest |reward|."""
    check_axes("rewards", rewards, "BK")
    return ~are_equal(rewards, tolerance=tolerance).squeeze(1)


@dataclass(frozen=True)
class Groups:
    """Which of B groups deviate, and the rewards that decide on it."""

    deviate: Tensor
    """[B] bool, false where a group is silent."""
    variances: Tensor
    """[B] variances of the rewards that decide on it, with one degree of freedom less."""
    first: Tensor
    """[B] the first of these rewards of each group, which is like the others of a silent one."""
    pool_means: Tensor | None = None
    """[B] mean rewards of all that was drawn of each input, the baselines; None for the plan's.

    The mean of the K that are kept of it would say how they were chosen, not how hard the input is
    (Reinforce-Ada, Xiong et al. 2025, arXiv 2510.04996).
    """

    def to(self, device: torch.device) -> Groups:
        """Return the same on a device."""
        means = None if self.pool_means is None else self.pool_means.to(device)
        deviate, variances, first = (
            each.to(device) for each in (self.deviate, self.variances, self.first)
        )
        return Groups(deviate, variances, first, means)


def group_advantages(
    task: Tensor,
    penalties: Tensor,
    *,
    baseline: str,
    scale: str | None,
    tolerance: float,
    groups: Groups | None = None,
) -> tuple[Tensor, Tensor]:
    """Return [B, K] the task's and the penalties' parts of the advantages.

    Groups whose task rewards are equal within ``tolerance`` get a task part of exactly 0. The scale
    is that of the task's rewards and divides their part alone: penalties are centred, and never
    blown up where rewards hardly deviate.

    Args:
        task: [B, K] task rewards of whole outputs.
        penalties: [B, K] sums of the outputs' KL penalties.
        baseline: name in `BASELINES`.
        scale: name in `SCALES`; None divides by nothing.
        tolerance: largest difference of equal rewards, as a share of the largest |reward|.
        groups: which groups are silent, where not their own task rewards decide, and baselines.
    """
    check_axes("task", task, "BK")
    check_shape("penalties", penalties, task.shape)
    centre = BASELINES[baseline]
    of_task, of_penalties = centre(task, tolerance), centre(penalties, 0.0)
    if groups is not None:
        of_task = _decided(task, of_task, groups)
    if scale is not None:
        of_task = of_task / SCALES[scale](task, of_task)
    return of_task, of_penalties


def _decided(task: Tensor, of_task: Tensor, groups: Groups) -> Tensor:
    """Return [B, K] advantages as the groups decide, exactly 0 in silent ones."""
    check_shape("deviate", groups.deviate, task.shape[:1])
    if groups.pool_means is not None:
        check_shape("pool_means", groups.pool_means, task.shape[:1])
        of_task = task - groups.pool_means[:, None].to(task.dtype)
    return torch.where(groups.deviate[:, None], of_task, 0.0)


def virtual_best(rewards: Tensor, best: float, tolerance: float) -> Tensor:
    """Return [B, K] (R - mean) / (std + 1e-6) over a group and one imagined reward ``best``.

    Groups of equal rewards below the best one are pushed down, and those of best ones by nothing
    (NGRPO, Nan et al. 2025, arXiv 2509.18851). The std has one degree of freedom less than K + 1.
    """
    check_axes("rewards", rewards, "BK")
    with_best = torch.nn.functional.pad(rewards, (0, 1), value=best)
    deviations = centred(with_best, tolerance=tolerance)[:, :-1]
    return deviations / (scale_of(with_best) + 1e-6)


def rewards_to_go(rewards: Tensor, mask: Tensor) -> Tensor:
    """Return [N, T] the sum of each token's and all later rewards; 0 outside the mask."""
    check_axes("rewards", rewards, "NT")
    check_shape("mask", mask, rewards.shape)
    return torch.where(mask, rewards, 0.0).flip(1).cumsum(1).flip(1) * mask
