"""Rewards of sampled outputs as columns, and the check of all numbers that outputs get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from grue.parts.token_numbers import summed
from grue.parts.user_function import name_of, scores_of
from grue.rewards.reward import Reward
from grue.texts import Texts

if TYPE_CHECKING:
    import pandas as pd

    from grue.metrics.metric import Scores

REWARD, REWARD_PART = "reward", "reward_parts/"
"""Columns of the reward, and of those of which it is the sum."""
SQUARED_NORM, STANDARD_ERROR = "grad_squared_norm", "grad_squared_norm_se"
"""Columns of the statistics with ``evaluation.gradients``."""


def rewards_of(reward: Reward[Any], texts: Texts) -> dict[str, Scores]:
    """Return [N] rewards of whole outputs, and those of which they are made, by column.

    Raises:
        UserError: the reward fails, or their number is wrong.
    """
    parts: dict[str, Scores] = {}

    def total(texts: Texts) -> Scores:
        found, of_parts = reward.with_parts(texts)
        parts.update({f"{REWARD_PART}{name}": summed(part) for name, part in of_parts.items()})
        return found

    found = scores_of(total, texts, per_token=True, name=name_of(type(reward)))
    return {REWARD: summed(found), **parts}


def check_scores(
    found: Mapping[str, Scores], part: pd.DataFrame, earlier: Mapping[str, Scores]
) -> None:
    """Check that the numbers of a metric are finite and that no other metric has its name.

    Raises:
        UserError: they are not.
    """
    for name, values in found.items():
        if name in earlier:
            raise UserError(f"'evaluation.metrics': two of them give '{name}'; take one out")
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            row = part.iloc[int(wrong[0])]
            raise UserError(
                f"'{name}' is {values[wrong[0]]} for input {row['input_id']}, sample "
                f"{row['sample_id']} (of {len(wrong)} such in this batch), output "
                f"{row['output'][:60]!r}; the samples are kept: fix the metric and run again "
                "with --retry_failed"
            )
