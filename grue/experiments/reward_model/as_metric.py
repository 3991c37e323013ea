"""Reward model as a metric: it measures as the run's reward does, unless its keys differ."""

from __future__ import annotations

from typing import Any

_LEARNED = "learned_preference"
"""Id of both, the reward and the metric."""


def measured_like_rewarded(values: Any) -> Any:
    """Return the keys, with those of the reward for metrics `_LEARNED` that name no model.

    ``values`` may be wrong in any way, which is reported elsewhere. A plan therefore names its
    reward model once, and ``--set reward_fn.args.model_name=...`` changes it everywhere.
    """
    if not isinstance(values, dict):
        return values
    reward, evaluation = values.get("reward_fn"), values.get("train_evaluation")
    if not isinstance(reward, dict) or not isinstance(evaluation, dict):
        return values
    args, metrics = reward.get("args"), evaluation.get("metrics")
    if not isinstance(args, dict) or not isinstance(metrics, list | tuple):
        return values
    if reward.get("id") != _LEARNED:
        return values
    filled = [_filled(metric, args) for metric in metrics]
    return {**values, "train_evaluation": {**evaluation, "metrics": filled}}


def _filled(metric: Any, reward_args: dict[str, Any]) -> Any:
    if not isinstance(metric, dict) or metric.get("id") != _LEARNED:
        return metric
    args = metric.get("args") or {}
    if not isinstance(args, dict) or "model_name" in args:
        return metric
    return {**metric, "args": {**reward_args, **args}}
