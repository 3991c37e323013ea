"""Choice of outputs by their rewards: right ones, and the best one of a group.

Axis letters: B inputs, K samples per input.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from common.training.shape_checks import check_axes
from grue.rl.tolerance import TOLERANCE

RewardsT = TypeVar("RewardsT", Tensor, NDArray[Any])


def best_of_group(rewards: Tensor) -> Tensor:
    """Return [B, K] bool, true at the first of the largest rewards of each group.

    This is RAFT's ranking (Dong et al. 2023, arXiv 2304.06767, algorithm 1).
    """
    check_axes("rewards", rewards, "BK")
    return torch.nn.functional.one_hot(rewards.argmax(1), rewards.shape[1]).bool()


def at_least(rewards: RewardsT, threshold: float) -> RewardsT:
    """Return [...] bool, true at rewards [...] from a threshold up, to a millionth of its size.

    These are right outputs, for the reward of a right one. To keep them alone is expert iteration's
    filter (Anthony et al. 2017, arXiv 1705.08439), and ReST's (Gulcehre et al. 2023, arXiv
    2308.08998).
    """
    return rewards >= threshold - TOLERANCE * abs(threshold)
