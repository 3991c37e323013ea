"""Text runs that train: rows of metrics by step, and evaluations with a known duration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from common.experiment import Context
from common.training.external_trackers import Row
from common.training.stepwise_run import StateT, StepwiseRun
from grue.runs.config import TrackedConfig

TextConfigT = TypeVar("TextConfigT", bound=TrackedConfig)


class TextRun(StepwiseRun[TextConfigT, StateT]):
    """A run whose rows have ``epoch`` (a fraction) and ``step``, both counted from 0.

    The last row is of the evaluation after training and has the step of the one before it.
    """

    def __init__(self, config: TextConfigT, context: Context) -> None:
        super().__init__(config, context)
        if self.tracker.wandb_id is None:
            self.tracker.wandb_id = context.folder.path.name

    def score_name(self, found: Mapping[str, float]) -> str | None:
        """Return the metric among those found that is the score: the first one on ``val``."""
        return next((name for name in found if name.startswith("val/")), None)

    def shown(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the score, and the loss or the reward of training."""
        score = self.score_name(values)
        names = {score: score} if score is not None else {}
        names |= {"loss": "loss", "rollout_info/ep_rew": "reward"}
        return {told: values[name] for name, told in names.items() if name in values}

    def keeps_row(self, row: Row) -> bool:
        """Return whether a row is of a step that is not made again, nor of the end."""
        return super().keeps_row(row) and not _is_of_the_end(row)


def _is_of_the_end(row: Row) -> bool:
    """Return whether a row holds the last evaluation: on the way there is a rollout or a loss."""
    return row["step"] > 0 and "loss" not in row and not _has(row, "rollout_info/")


def _has(row: Row, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in row)
