"""Pools of outputs of one input, drawn round by round (Reinforce-Ada, arXiv 2510.04996).

Of each pool K outputs are kept, half of them right where the pool allows, and all of the pool gives
their baseline. An output is right where its reward is the largest possible one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grue.rollouts.group_rules import DrawMore
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.settings import RolloutSettings


@dataclass(frozen=True)
class Pool:
    """All outputs that were drawn of an input."""

    rows: Sequence[int]
    """[n] their positions in the rollout, in the order of drawing."""
    is_right: NDArray[np.bool_]
    """[n]"""


def pools(drawn: PendingRollout, settings: RolloutSettings) -> list[Pool]:
    """Return the pool of each input, in the order of their groups."""
    is_right = drawn.are_right(settings.groups)
    return [Pool(rows, is_right[rows]) for rows in drawn.rows_of_groups()]


def is_full(pool: Pool, size: int, rules: DrawMore) -> bool:
    """Return whether nothing more is drawn of an input of which ``size`` outputs are kept."""
    num_right = int(pool.is_right.sum())
    if rules.until == "positive":
        return num_right > 0
    return num_right >= size // 2 and len(pool.rows) - num_right >= size - size // 2


def kept_of(pool: Pool, size: int) -> list[int]:
    """Return the positions of the ``size`` outputs of a pool that are kept, the first ones drawn.

    ``size // 2`` are right and the others wrong; where there are too few of one kind, the other
    kind takes their places.
    """
    rows = np.asarray(pool.rows)
    right, wrong = rows[pool.is_right], rows[~pool.is_right]
    num_right = min(max(size // 2, size - len(wrong)), len(right))
    return sorted([*right[:num_right].tolist(), *wrong[: size - num_right].tolist()])
