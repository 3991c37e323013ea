"""Callback for TRL's trainers that warns of training without a signal."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger(__name__)

_SHARE = "frac_reward_zero_std"
"""Metric of TRL's trainers: share of prompts whose rewards are equal."""


class SilentGroupsWarning(TrainerCallback):
    """Callback that warns once after several logged steps with mostly silent groups.

    A group of completions with equal rewards has no advantage and pushes nothing.
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
        share = (logs or {}).get(_SHARE)
        if share is None or self._has_warned:
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
