"""Statistics of groups, the outputs of one input: silent ones, pass@k, lengths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grue.rl.pass_at_k import pass_at_k
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.resampling import deviating
from grue.rollouts.settings import RolloutSettings


def group_statistics(
    drawn: PendingRollout, kept: PendingRollout, settings: RolloutSettings, largest: float | None
) -> dict[str, float]:
    """Return shares of silent groups by kind, pass@k, and lengths of right and wrong outputs.

    All groups that were drawn count, also those that the update does not use, each with the first K
    outputs drawn of its input. An output is right where its reward is the largest. Nothing is
    returned for groups of one.

    Args:
        drawn: all scored outputs.
        kept: those that the update uses.
        settings: sizes and tolerance of the groups.
        largest: largest reward; None if it is not known, which leaves shares of groups alone.
    """
    size = settings.samples_per_input
    if size < 2:
        return {}
    # Outputs beyond the first K are drawn because of these, so that they would tell less.
    of_groups = drawn.rows_of_groups()
    first = drawn.of_rows([row for rows in of_groups for row in rows[:size]])
    mixed = deviating(first, settings).numpy()
    found = {"groups/constant": 1 - mixed.mean(), "groups/mixed": mixed.mean()}
    if settings.max_resamples:
        found["groups/num_resampled"] = (len(drawn.outputs) - len(kept.outputs)) // size
    if settings.draw_more is not None:
        found["groups/pool_mixed"] = deviating(drawn, settings).numpy().mean()
        found["groups/pool_size"] = len(drawn.outputs) / len(of_groups)
    if settings.hint is not None:
        found["groups/hinted"] = (len(drawn.outputs) - len(first.outputs)) / len(first.outputs)
        found["groups/mixed_with_hints"] = deviating(kept, settings).numpy().mean()
    drawn = first
    if largest is not None:
        rewards = drawn.totals().reshape(-1, size)
        right = np.isclose(rewards, largest)
        found["groups/all_best"] = right.all(1).mean()
        found["groups/all_zero"] = (rewards == 0).all(1).mean()
        for k in _powers_of_two(size):
            found[f"pass_at_k/{k}"] = pass_at_k(right.astype(np.float64), k).mean()
        lengths = np.array([len(output) for output in drawn.outputs])
        for name, those in {"right": right.ravel(), "wrong": ~right.ravel()}.items():
            if those.any():
                found[f"response_length/{name}"] = lengths[those].mean()
    return {name: float(value) for name, value in found.items()}


def _powers_of_two(most: int) -> Iterator[int]:
    """Yield 1, 2, 4 and so on up to ``most``."""
    number = 1
    while number <= most:
        yield number
        number *= 2
