"""Compatibility of references with RL4LMs, for all metrics and the reward of a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Strict

from common.config.base import LATER
from common.config.distinct import Distinct
from common.errors import UserError
from grue.metrics.config import MetricConfig
from grue.parts.config import PartConfig
from grue.rewards.config import RewardConfig

STRINGIFY: Literal["stringify_references"] = "stringify_references"
"""Name of the behaviour, and of the key of the parts that have it."""
GLUED: Literal["references_without_blank"] = "references_without_blank"
"""Name of the published way to join prompts and references of causal models."""
OfReferences = Annotated[
    tuple[Literal["rl4lms", "stringify_references"], ...], Strict(False), Distinct(), LATER
]
"""Behaviours of RL4LMs in runs without rollouts, by name."""
OfSupervised = Annotated[
    tuple[Literal["rl4lms", "stringify_references", "references_without_blank"], ...],
    Strict(False),
    Distinct(),
    LATER,
]
"""Behaviours of RL4LMs in supervised finetuning."""


def joined_as_published(values: Any) -> Any:
    """Return the keys of supervised finetuning, with ``join_with_blank`` as `GLUED` sets it."""
    asked = values.get("compatibility") if isinstance(values, dict) else None
    if not isinstance(asked, list | tuple) or not {GLUED, "rl4lms"} & set(map(str, asked)):
        return values
    return {"join_with_blank": False, **values}


def references_as_published(
    values: Any, asked: Any, evaluation: Literal["train_evaluation", "evaluation"]
) -> Any:
    """Return a configuration's keys with ``stringify_references`` for the parts that lack it.

    Args:
        values: the keys, which may be wrong in any way.
        asked: behaviours to reproduce.
        evaluation: key of the object that holds the metrics.
    """
    if not isinstance(values, dict) or not isinstance(asked, list | tuple):
        return values
    if STRINGIFY not in asked and "rl4lms" not in asked:
        return values
    found = dict(values)
    if "reward_fn" in found:
        found["reward_fn"] = _stringifying(found["reward_fn"], RewardConfig)
    measured = found.get(evaluation)
    if isinstance(measured, dict) and isinstance(measured.get("metrics"), list | tuple):
        metrics = [_stringifying(metric, MetricConfig) for metric in measured["metrics"]]
        found[evaluation] = {**measured, "metrics": metrics}
    return found


def _stringifying(part: Any, kind: type[PartConfig[Any]]) -> Any:
    """Return the keys of a metric or reward; problems with them are reported elsewhere."""
    if not isinstance(part, dict) or not isinstance(part.get("id"), str):
        return part
    args = part.get("args") or {}
    try:
        known = kind.find(part["id"]).Args.model_fields
    except UserError:
        return part
    if not isinstance(args, dict):
        return part
    if part["id"] == "weighted_sum" and isinstance(args.get("rewards"), list | tuple):
        inner = [_stringifying(reward, kind) for reward in args["rewards"]]
        return {**part, "args": {**args, "rewards": inner}}
    if STRINGIFY not in known or STRINGIFY in args:
        return part
    return {**part, "args": {**args, STRINGIFY: True}}
