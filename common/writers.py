"""Other places that metrics go to: pictures, TensorBoard, Weights & Biases."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.callbacks import Callback
from common.fit_config import FitConfig
from common.records import EPOCH_ROW
from common.run_folder import RunFolder, read_json_lines, replacing
from common.seeding import undisturbed

if TYPE_CHECKING:
    from common.trainer import Trainer

_SECONDS_BETWEEN_PLOTS = 30.0
_NOT_METRICS = {"epoch", "seconds"}


class MetricPlots(Callback):
    """Draws one picture per metric over the epochs, every ``every`` epochs and at the end.

    But now and then only: drawing takes longer than an epoch of a small model.
    """

    def __init__(self, folder: RunFolder, every: int) -> None:
        self.folder = folder
        self.every = every
        self._drawn_at = -math.inf

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Draws when it is due."""
        is_due = trainer.epoch % self.every == 0
        if is_due and time.monotonic() - self._drawn_at >= _SECONDS_BETWEEN_PLOTS:
            self._draw()
            self._drawn_at = time.monotonic()

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """Draws the whole fit."""
        self._draw()

    def _draw(self) -> None:
        from matplotlib.figure import Figure

        rows = read_json_lines(self.folder.metrics, EPOCH_ROW)
        for name in sorted({name for row in rows for name in row} - _NOT_METRICS):
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            figure = Figure(figsize=(5, 3.2), layout="constrained")
            axes = figure.add_subplot(xlabel="epoch", ylabel=name)
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "")
            file_name = re.sub(r"\W+", "_", name) + ".png"
            with replacing(self.folder.plots / file_name) as file:
                figure.savefig(file, format="png", dpi=120)


class TensorBoardWriter(Callback):
    """Writes metrics as TensorBoard scalars below the run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Opens an event file; what a resumed fit repeats is purged."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.folder), purge_step=trainer.epoch)

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Adds the epoch's scalars."""
        for name in metrics.keys() - _NOT_METRICS:
            self._writer.add_scalar(name, metrics[name], metrics["epoch"])

    def close(self) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()


class WandbWriter(Callback):
    """Sends metrics to Weights & Biases, and the run's files at the end."""

    def __init__(self, config: FitConfig, folder: RunFolder) -> None:
        self.config = config
        self.folder = folder
        self.run_id = config.wandb_resume_id
        self._run: Any = None

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Opens the run, or goes on with the one of an interrupted fit."""
        import wandb

        with undisturbed():
            self._run = wandb.init(
                project=self.config.wandb_project_name,
                entity=self.config.wandb_entity_name,
                name=self.folder.path.name,
                id=self.run_id,
                resume="allow",
                dir=str(self.folder.path),
                config=self.config.model_dump(mode="json"),
            )
        self.run_id = self._run.id
        if self.config.wandb_track_model:
            track = self.config.wandb_track_model
            self._run.watch(trainer.model, log="all" if track is True else track)

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Sends the epoch's metrics."""
        self._run.log(metrics, step=metrics["epoch"])

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """Uploads the run's own files but for the excluded ones."""
        for path in sorted(self.folder.path.iterdir()):
            excluded = any(fnmatch(path.name, p) for p in self.config.wandb_exclude_files)
            if path.is_file() and not path.name.startswith(".") and not excluded:
                self._run.save(str(path), base_path=str(self.folder.path), policy="now")

    def close(self) -> None:
        """Ends the connection; an interrupted run can be gone on with."""
        if self._run is not None:
            self._run.finish()

    def state(self) -> dict[str, Any]:
        """The run's id, so that a resumed fit goes on with the same one."""
        return {"run_id": self.run_id}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""
        self.run_id = state.get("run_id", self.run_id)


def writers(config: FitConfig, folder: RunFolder) -> list[Callback]:
    """The writers that the configuration asks for."""
    every = config.validate_every * config.save_every_num_val
    found: list[Callback] = []
    found += [MetricPlots(folder, every)] if config.save_metric_plots else []
    found += [TensorBoardWriter(folder.path / "tensorboard")] if config.use_tensorboard else []
    found += [WandbWriter(config, folder)] if config.use_wandb else []
    return found
