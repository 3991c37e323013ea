"""Advice for classes written for RL4LMs, which has other interfaces."""

from __future__ import annotations

import inspect
from typing import Any

_METRIC = (
    "derive it from grue.metrics.metric.Metric and, in place of compute, give scores(self, texts): "
    "numbers for texts.outputs by the metric's key; texts has prompts, references and metadata too"
)
_REWARD = (
    "write it as a function f(prompts, outputs, references, metadata) that gives one number for "
    "each whole output, or derive it from grue.rewards.reward.Reward"
)
_TASK = (
    "derive it from grue.tasks.task.Task and, in place of prepare, give samples(self, split): "
    "a list of grue.tasks.task.Sample(id, prompt, references, metadata); the arguments of prepare "
    "are fields of its Args, and splits are called train, val and test"
)


def what_to_change(part: Any) -> str:
    """Return advice, as the end of a message, for an RL4LMs class; "" for any other class."""
    if not isinstance(part, type):
        return ""
    if hasattr(part, "compute"):
        return f"; it looks like RL4LMs' BaseMetric: {_METRIC}"
    if hasattr(part, "prepare") and not hasattr(part, "samples"):
        return f"; it looks like RL4LMs' TextGenPool: {_TASK}"
    if {"prev_observation", "prompt_texts"} & set(_parameters_of_call(part)):
        return f"; it looks like RL4LMs' RewardFunction: {_REWARD}"
    return ""


def _parameters_of_call(part: type) -> list[str]:
    """Return the names of the arguments that an object of the class is called with."""
    call = vars(part).get("__call__")
    return [] if call is None else list(inspect.signature(call).parameters)
