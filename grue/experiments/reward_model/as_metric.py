"""Reward model as a metric: it measures as the run's reward does, unless its keys differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_LEARNED = "learned_preference"
"""Id of both, the reward and the metric."""
_SUM = "weighted_sum"
"""Id of the reward that is a sum of others."""


def measured_like_rewarded(values: Any) -> Any:
    """Return the keys, with those of the reward for metrics `_LEARNED` that name no model.

    The reward may be a part of a weighted sum, if that has no other of its kind.
    ``values`` may be wrong in any way, which is reported elsewhere. A plan therefore names its
    reward model once, and ``--set reward_fn.args.model_name=...`` changes it everywhere.
    """
    if not isinstance(values, dict):
        return values
    reward, evaluation = values.get("reward_fn"), values.get("train_evaluation")
    if not isinstance(reward, dict) or not isinstance(evaluation, dict):
        return values
    metrics, learned = evaluation.get("metrics"), list(_learned_args(reward))
    if len(learned) != 1 or not isinstance(metrics, list | tuple):
        return values
    filled = [_filled(metric, learned[0]) for metric in metrics]
    return {**values, "train_evaluation": {**evaluation, "metrics": filled}}


def _learned_args(reward: Any) -> Iterator[dict[str, Any]]:
    """Yield the keys of a reward `_LEARNED`, or of those in a weighted sum."""
    args = reward.get("args") if isinstance(reward, dict) else None
    if not isinstance(args, dict):
        return
    if reward.get("id") == _LEARNED:
        yield args
    elif reward.get("id") == _SUM and isinstance(args.get("rewards"), list | tuple):
        for part in args["rewards"]:
            yield from _learned_args(part)


def _filled(metric: Any, reward_args: dict[str, Any]) -> Any:
    if not isinstance(metric, dict) or metric.get("id") != _LEARNED:
        return metric
    args = metric.get("args") or {}
    if not isinstance(args, dict) or "model_name" in args:
        return metric
    return {**metric, "args": {**reward_args, **args}}
