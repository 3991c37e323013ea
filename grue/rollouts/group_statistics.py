"""Statistics of groups, the outputs of one input: silent ones, pass@k, lengths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grue.rl.pass_at_k import mean_pass_at_k
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.resampling import deviating
from grue.rollouts.settings import RolloutSettings


def group_statistics(
    drawn: PendingRollout, kept: PendingRollout, settings: RolloutSettings, largest: float | None
) -> dict[str, float]:
    """Return shares of silent groups by kind, pass@k, and lengths of right and wrong outputs.

    All groups that were drawn count, also those that the update does not use, each with the first K
    outputs drawn of its input. An output is right where its reward is the largest. For groups of
    one there are no shares.

    Args:
        drawn: all scored outputs.
        kept: those that the update uses.
        settings: sizes and tolerance of the groups.
        largest: largest reward; None if it is not known, which leaves shares of groups alone.
    """
    size = settings.samples_per_input
    # Outputs beyond the first K are drawn because of these, so that they would tell less.
    of_groups = drawn.rows_of_groups()
    first = drawn.of_rows([row for rows in of_groups for row in rows[:size]])
    found: dict[str, float] = {}
    if size > 1:
        mixed = deviating(first, settings).numpy()
        found |= {"groups/constant": 1 - mixed.mean(), "groups/mixed": mixed.mean()}
    if settings.max_resamples:
        found["groups/num_resampled"] = (len(drawn.outputs) - len(kept.outputs)) // size
    if settings.draw_more is not None:
        found["groups/pool_mixed"] = deviating(drawn, settings).numpy().mean()
        found["groups/pool_size"] = len(drawn.outputs) / len(of_groups)
    if largest is not None:
        rewards = first.totals().reshape(-1, size)
        right = np.isclose(rewards, largest)
        if size > 1:
            found["groups/all_best"] = right.all(1).mean()
            found["groups/all_zero"] = (rewards == 0).all(1).mean()
        found |= _of_right(right, np.array([len(output) for output in first.outputs]))
    return {name: float(value) for name, value in found.items()}


def _of_right(right: NDArray[np.bool_], lengths: NDArray[np.int64]) -> dict[str, float]:
    """Return pass@k of groups [B, K], and mean lengths of right and wrong outputs from [B K]."""
    found = {f"pass_at_k/{k}": share for k, share in mean_pass_at_k(right).items()}
    for name, those in {"right": right.ravel(), "wrong": ~right.ravel()}.items():
        if those.any():
            found[f"response_length/{name}"] = lengths[those].mean()
    return found
