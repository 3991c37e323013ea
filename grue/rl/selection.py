"""Choice of outputs to imitate, from the rewards of their group.

Axis letters: B inputs, K samples per input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.training.shape_checks import check_axes
from grue.rl.tolerance import TOLERANCE


def best_of_group(rewards: Tensor) -> Tensor:
    """Return [B, K] bool, true at the first of the largest rewards of each group.

    This is RAFT's ranking (Dong et al. 2023, arXiv 2304.06767, algorithm 1).
    """
    check_axes("rewards", rewards, "BK")
    return torch.nn.functional.one_hot(rewards.argmax(1), rewards.shape[1]).bool()


def at_least(rewards: Tensor, threshold: float) -> Tensor:
    """Return [B, K] bool, true at rewards from a threshold up, to a millionth of its size.

    This is expert iteration's filter of right outputs (Anthony et al. 2017, arXiv 1705.08439), and
    ReST's (Gulcehre et al. 2023, arXiv 2308.08998).
    """
    check_axes("rewards", rewards, "BK")
    return rewards >= threshold - TOLERANCE * abs(threshold)
