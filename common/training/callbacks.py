"""Callbacks of a fit: rows of metrics, kept checkpoints, early stopping.

A callback may write files or ask for a stop; it does not touch weights (but for early stopping's
restoring of the best ones) nor generators. The order of callbacks matters: `Checkpoints` comes
last, so that what it saves includes what the others did with the epoch. The last checkpoint, which
a run resumes from, is written by the run itself, see `StepwiseRun`.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from common.score import Score
from common.training import checkpoint
from common.training.tracker import Tracker
from common.training.trainer import Callback

if TYPE_CHECKING:
    from common.training.trainer import Trainer


class Tracking(Callback):
    """Callback that passes each epoch's metrics to the run's `Tracker`."""

    saved_as = "WandbWriter"
    """Name under which checkpoints have always had the run's id at Weights & Biases."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Append the epoch's row."""
        self.tracker.add(metrics)

    def close(self) -> None:
        """Close the tracker, which nobody else closes where no run stands around the fit."""
        self.tracker.close()

    def state(self) -> dict[str, Any]:
        """Return the run's id at Weights & Biases, so that a resumed fit appends to it."""
        return {} if self.tracker.wandb_id is None else {"run_id": self.tracker.wandb_id}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state`."""
        self.tracker.wandb_id = state.get("run_id", self.tracker.wandb_id)


class EarlyStopping(Callback):
    """Early stopping: ends the fit after ``patience`` checks without a better score, at the next.

    A check is an epoch with a score, after ``cooldown`` epochs. There is one in ``every`` epochs,
    so that a fit that ends here has just been validated.
    """

    def __init__(
        self,
        score: Score,
        *,
        min_delta: float,
        patience: int,
        cooldown: int,
        restore_best: bool,
        every: int = 1,
    ) -> None:
        self.score = score
        self.every = every
        self.min_delta = min_delta
        self.patience = patience
        self.cooldown = cooldown
        self.restore_best = restore_best
        self.best: float | None = None
        self.best_epoch = 0
        self.waited = 0
        self.best_weights: dict[str, Tensor] | None = None

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Make a check and request a stop when patience is exhausted."""
        value = self.score.of(metrics)
        is_due = trainer.epoch > self.cooldown and trainer.epoch % self.every == 0
        if value is None or not is_due:
            return
        if self.best is None or self.score.improves(value, self.best, self.min_delta):
            self.best, self.best_epoch, self.waited = value, trainer.epoch, 0
            if self.restore_best:
                weights = trainer.model.state_dict()
                self.best_weights = {name: tensor.clone() for name, tensor in weights.items()}
            return
        self.waited += 1
        if self.waited > self.patience:
            trainer.stop_reason = (
                f"'{self.score.name}' has not improved on {self.best:.6g} for {self.waited} checks"
            )

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """Restore the best weights, if that is configured."""
        if self.best_weights is not None:
            trainer.model.load_state_dict(self.best_weights)
            trainer.restored_epoch = self.best_epoch

    def state(self) -> dict[str, Any]:
        """Return the best score and its epoch, checks without improvement, and the best weights."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "best_weights": self.best_weights,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state`."""
        self.best = state.get("best")
        self.best_epoch = state.get("best_epoch", 0)
        self.waited = state.get("waited", 0)
        self.best_weights = state.get("best_weights")


class Checkpoints(Callback):
    """Callback that keeps further checkpoints, the newest or the best by score."""

    def __init__(
        self, folder: Path, *, keep: int = 0, every: int = 1, by_score: Score | None = None
    ) -> None:
        self.folder = folder
        self.keep = keep
        self.every = every
        self.by_score = by_score
        self.kept: list[tuple[float, str]] = []

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Keep one more when it is due."""
        if self.keep and trainer.epoch % self.every == 0:
            self._keep_one_more(trainer, metrics)

    def _keep_one_more(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Add a checkpoint and remove the oldest, or the worst by score, beyond ``keep``."""
        rank = float(trainer.epoch) if self.by_score is None else self.by_score.rank(metrics)
        if rank is None:
            return
        name = f"epoch_{trainer.epoch}.pt"
        # Of equals the older go first.
        self.kept = sorted([*self.kept, (rank, name)], key=itemgetter(0))
        dropped, self.kept = self.kept[: -self.keep], self.kept[-self.keep :]
        if (rank, name) in self.kept:
            checkpoint.save(self.folder / name, trainer.state())
        for _, old in dropped:
            (self.folder / old).unlink(missing_ok=True)

    def state(self) -> dict[str, Any]:
        """Return the kept checkpoints, each with the value that orders them."""
        return {"kept": self.kept}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state`."""
        self.kept = [(rank, name) for rank, name in state.get("kept", [])]
