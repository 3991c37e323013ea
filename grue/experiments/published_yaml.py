"""Published programs' configuration files: recognition, and fixes of their known errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.errors import UserError
from grue import tasks


def means_finetuning(keys: Mapping[str, Any]) -> bool:
    """Return whether a file with these keys belongs to the published training program."""
    return "train_evaluation" in keys


def means_extraction(keys: Mapping[str, Any]) -> bool:
    """Return whether a file with these keys belongs to the published extraction program."""
    evaluation = keys.get("evaluation")
    return isinstance(evaluation, Mapping) and "num_samples_per_input" in evaluation


def fix_legacy_keys(keys: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """Return the keys without a known error of published files, and a warning about the fix.

    The published programs left ``split`` in a task's args.
    """
    pool = keys.get("datapool")
    if not isinstance(pool, Mapping):
        return keys, []
    args = pool.get("args")
    if not isinstance(args, Mapping) or "split" not in args or _knows_split(pool.get("id")):
        return keys, []
    kept = {key: value for key, value in args.items() if key != "split"}
    warning = (
        f"'datapool.args.split' = '{args['split']}' is left out: a run reads all splits it needs"
    )
    return {**keys, "datapool": {**pool, "args": kept}}, [warning]


def _knows_split(task: Any) -> bool:
    """Return whether ``split`` is a key of the task itself."""
    try:
        return isinstance(task, str) and "split" in tasks.find(task).Args.model_fields
    except UserError:
        return False
