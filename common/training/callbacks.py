"""Callbacks of a fit: files of metrics, checkpoints, early stopping.

A callback may write files or request a stop. It does not change generators or weights, except that
early stopping restores the best ones. The order of callbacks matters: `Checkpoints` is last, so
that its state includes the other callbacks' work of the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from torch import Tensor

from common.errors import Interrupted
from common.files.durable import sync, sync_folder
from common.files.no_space import explaining_no_space
from common.run.folder import read_json_lines, write_text
from common.run.records import EPOCH_ROW
from common.score import Score
from common.training import checkpoint
from common.training.pace import Pace
from common.training.trainer import Callback

if TYPE_CHECKING:
    from common.training.trainer import Trainer


class MetricsFile(Callback):
    """Writer of one JSON object per epoch; a resumed fit first drops the epochs that it repeats."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._is_synced = True

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Keep the complete lines of finished epochs and open the file."""
        rows = read_json_lines(self.path, EPOCH_ROW)
        kept = [row for row in rows if row["epoch"] < trainer.epoch]
        if self.path.exists():
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self.path.open("a", encoding="utf-8")

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Append the epoch's line."""
        assert self._file is not None
        line = json.dumps(metrics) + "\n"
        with explaining_no_space(self.path, len(line)):
            self._file.write(line)
            self._file.flush()
        self._is_synced = False

    def sync(self) -> None:
        """Sync the lines to the disk."""
        assert self._file is not None
        if not self._is_synced:
            with explaining_no_space(self.path):
                sync(self._file.fileno())
                sync_folder(self.path.parent)
            self._is_synced = True

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):  # of a line that did not fit, which has been told
                self._file.close()


class Progress(Callback):
    """Callback that reports the number of finished epochs."""

    def __init__(self, tell: Callable[[int, int], None], epochs: int) -> None:
        self.tell = tell
        self.epochs = epochs

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Report the number of epochs at the start or after a resume."""
        self.tell(trainer.epoch, self.epochs)

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Report another epoch."""
        self.tell(trainer.epoch, self.epochs)


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
    """Callback that saves the training state, and further checkpoints if configured.

    ``last.pt`` is written at the start, at the `Pace` of all runs, at a stop request (which then
    interrupts the fit), and at the end.
    """

    def __init__(
        self,
        folder: Path,
        stop_requested: Callable[[], bool],
        *,
        keep: int = 0,
        every: int = 1,
        by_score: Score | None = None,
    ) -> None:
        self.folder = folder
        self.stop_requested = stop_requested
        self.keep = keep
        self.every = every
        self.by_score = by_score
        self.kept: list[tuple[float, str]] = []
        self._pace = Pace()

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Write a finite state at the start, if there is none."""
        self._save_last(trainer)

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Save the checkpoints that are due.

        Raises:
            Interrupted: the run was asked to stop; its state is saved.
        """
        if self.keep and trainer.epoch % self.every == 0:
            self._keep_one_more(trainer, metrics)
        if self.stop_requested():
            self._save_last(trainer)
            raise Interrupted(f"stopped on request after epoch {trainer.epoch - 1}")
        if self._pace.is_due():
            self._save_last(trainer)

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """Save the final state."""
        self._save_last(trainer)

    def _save_last(self, trainer: Trainer[Any]) -> None:
        with self._pace.writing():
            for callback in trainer.callbacks:
                callback.sync()
            checkpoint.save_last(self.folder, trainer.state())
        trainer.saved_epoch = trainer.epoch

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
        """Return the kept checkpoints with their ranks."""
        return {"kept": self.kept}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state`."""
        self.kept = [(rank, name) for rank, name in state.get("kept", [])]
