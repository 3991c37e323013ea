"""Statistics of groups, the outputs of one input: silent ones, pass@k, lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from grue.rl.pass_at_k import mean_pass_at_k
from grue.rl.selection import at_least
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.resampling import deviating
from grue.rollouts.settings import RolloutSettings
from grue.texts import groups


def group_statistics(
    drawn: PendingRollout, kept: PendingRollout, settings: RolloutSettings, largest: float | None
) -> dict[str, float]:
    """Return shares of silent groups by kind, pass@k, and lengths of right and wrong outputs.

    All groups that were drawn count, also those that the update does not use, each with the first K
    outputs drawn of its input. Their rewards are those that decide on silence: the task's, or the
    part of it that ``silent_by`` names. An output is right where its reward is the largest. Where
    the settings name a metadata key, shares and number of groups are also those of the inputs of
    each of its values, ``..._at_<key>_<value>``. For groups of one there are no shares.

    Args:
        drawn: all scored outputs.
        kept: those that the update uses.
        settings: sizes and tolerance of the groups.
        largest: largest of these rewards; None if it is not known, which leaves shares of groups
            alone.
    """
    size = settings.samples_per_input
    # Outputs beyond the first K are drawn because of these, so that they would tell less.
    of_groups = drawn.rows_of_groups()
    first = drawn.of_rows([row for rows in of_groups for row in rows[:size]])
    rewards = first.deciding(settings.groups.silent_by).reshape(-1, size)
    found: dict[str, float] = {}
    if size > 1:
        kinds = _kinds(rewards, deviating(first, settings).numpy(), largest)
        found |= {f"groups/{kind}": are_so.mean() for kind, are_so in kinds.items()}
        for ending, rows in _levels(drawn, settings).items():
            found[f"groups/count{ending}"] = len(rows)
            found |= {f"groups/{kind}{ending}": of[rows].mean() for kind, of in kinds.items()}
    if settings.groups.max_resamples:
        found["groups/num_resampled"] = (len(drawn.outputs) - len(kept.outputs)) // size
    if settings.groups.draw_more is not None:
        found["groups/pool_mixed"] = deviating(drawn, settings).numpy().mean()
        found["groups/pool_size"] = len(drawn.outputs) / len(of_groups)
    if settings.groups.hint_share is not None:
        found["groups/hinted"] = (len(drawn.outputs) - len(first.outputs)) / len(first.outputs)
        found["groups/mixed_with_hints"] = deviating(kept, settings).numpy().mean()
    if largest is not None:
        right, lengths = at_least(rewards, largest), np.array(list(map(len, first.outputs)))
        found |= _of_right(right, lengths)
    return {name: float(value) for name, value in found.items()}


def _kinds(
    rewards: NDArray[np.float64], mixed: NDArray[np.bool_], largest: float | None
) -> dict[str, Any]:
    """Return [B] of each kind of groups, which are of it, from their rewards [B, K]."""
    kinds: dict[str, Any] = {"constant": ~mixed, "mixed": mixed}
    if largest is not None:
        kinds["all_best"] = at_least(rewards, largest).all(1)
        kinds["all_zero"] = np.equal(rewards, 0).all(1)
    return kinds


def _of_right(right: NDArray[np.bool_], lengths: NDArray[np.int64]) -> dict[str, float]:
    """Return pass@k of groups [B, K], and mean lengths of right and wrong outputs from [B K]."""
    found = {f"pass_at_k/{k}": share for k, share in mean_pass_at_k(right).items()}
    for name, those in {"right": right.ravel(), "wrong": ~right.ravel()}.items():
        if those.any():
            found[f"response_length/{name}"] = lengths[those].mean()
    return found


def _levels(drawn: PendingRollout, settings: RolloutSettings) -> dict[str, NDArray[np.int64]]:
    """Return the groups of each value of the configured metadata, by the end of their names."""
    key = settings.group_by
    if key is None:
        return {}
    of_outputs = [known for texts in drawn.texts for known in texts.metadata]
    of_groups = [of_outputs[rows[0]] for rows in drawn.rows_of_groups()]
    return {f"_at_{key}_{value}": rows for value, rows in groups(of_groups, key).items()}
