"""Groups of a rollout that deviate, and those that an update uses."""

from __future__ import annotations

import torch
from torch import Tensor

from grue.algorithms.args.group_advantages import GroupAdvantageArgs
from grue.rl.group_advantages import Groups, deviates
from grue.rl.group_filter import of_largest_number, of_largest_share
from grue.rollouts.batch import Rollout


def verdicts(args: GroupAdvantageArgs, rollout: Rollout) -> Groups:
    """Return which groups deviate: by their own task rewards, where nothing else decides."""
    if rollout.groups is not None:
        return rollout.groups
    task = rollout.totals(args.num_samples_per_input)
    return Groups(deviates(task, args.zero_tol), task.double().var(1), task[:, 0])


def used_groups(args: GroupAdvantageArgs, rollout: Rollout) -> Tensor | None:
    """Return [B] bool, true for the groups that are not left out; None where none is."""
    chosen, drops = args.filter_by_std, args.zero_std_groups == "drop"
    if chosen is None and not drops:
        return None
    groups = verdicts(args, rollout)
    if chosen is None:
        return groups.deviate
    variances = torch.where(groups.deviate, groups.variances, 0.0)
    if chosen.top_p is not None:
        return of_largest_share(variances, chosen.top_p)
    assert chosen.top_k is not None
    return of_largest_number(variances, chosen.top_k)
