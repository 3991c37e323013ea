"""Callback for TRL's trainers that warns of training without a signal."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger(__name__)

_SHARE = "frac_reward_zero_std"
"""Metric of TRL's trainers: share of prompts whose rewards are equal."""


class SilentGroupsWarning(TrainerCallback):
    """Callback that warns once after several logged steps with mostly silent groups.

    A group of completions with equal rewards has no advantage and pushes nothing. Where the logs do
    not tell how many are such, the callback says so once.
    """

    def __init__(self, steps: int = 20, share: float = 0.8) -> None:
        """Warn after ``steps`` logged steps with at least ``share`` of the groups silent."""
        self.steps = steps
        self.share = share
        self._last: deque[float] = deque(maxlen=steps)
        self._has_warned = False

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **others: Any,
    ) -> None:
        """Note the share of silent groups."""
        if logs is None or _SHARE not in logs or self._has_warned:
            return
        share = _silent_share(args, logs)
        if share is None:
            self._has_warned = True
            log.warning(
                "'%s' is of whole batches with 'scale_rewards' = 'batch' or "
                "'multi_objective_aggregation' = 'normalize_then_sum', so that nothing tells how "
                "many groups are silent; with a single reward function, wrap it: "
                "with_reward_std(...)", _SHARE,
            )  # fmt: skip
            return
        self._last.append(share)
        if len(self._last) == self.steps and min(self._last) >= self.share:
            self._has_warned = True
            log.warning(
                "step %d: in each of the last %d logged steps at least %.0f %% of the groups had "
                "equal rewards and pushed nothing; python -m grue.diagnose tells too hard, too "
                "easy and too coarse rewards apart, and which prompts supervised finetuning "
                "should learn first",
                state.global_step, self.steps, 100 * min(self._last),
            )  # fmt: skip


def _silent_share(args: TrainingArguments, logs: Mapping[str, float]) -> float | None:
    """Return the share of silent groups; None where the logs do not tell it.

    Where TRL divides by the std of a batch, its own share is that of silent batches. Then that of
    a single reward function is taken, if `with_reward_std` wraps it.
    """
    by_batch = getattr(args, "scale_rewards", None) == "batch"
    by_sum = getattr(args, "multi_objective_aggregation", None) == "normalize_then_sum"
    if not (by_batch or by_sum):
        return logs[_SHARE]
    own = [logs[name] for name in logs if re.fullmatch("reward_std/.+/frac_zero", name)]
    functions = [name for name in logs if re.fullmatch("rewards/.+/mean", name)]
    return own[0] if len(own) == len(functions) == 1 else None
