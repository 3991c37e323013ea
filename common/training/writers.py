"""Writers of metrics to pictures, TensorBoard, and Weights & Biases."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.config.fit import FitConfig
from common.run.folder import RunFolder, read_json_lines, replacing
from common.run.records import EPOCH_ROW
from common.training.pace import Pace
from common.training.seeding import undisturbed
from common.training.trainer import Callback

if TYPE_CHECKING:
    from common.training.trainer import Trainer

_NOT_METRICS = {"epoch", "seconds"}
_FEW_POINTS = 30  # each of which is marked


class MetricPlots(Callback):
    """Writer of one picture per metric over the epochs, at the end of the fit.

    A long fit is also drawn every ``every`` epochs, at the `Pace` of its checkpoints.
    """

    def __init__(self, folder: RunFolder, every: int) -> None:
        self.folder = folder
        self.every = every
        self._pace = Pace()

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Draw if it is due."""
        if trainer.epoch % self.every == 0 and self._pace.is_due():
            self._draw()

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """Draw the whole fit."""
        self._draw()

    def _draw(self) -> None:
        with self._pace.writing():
            rows = read_json_lines(self.folder.metrics, EPOCH_ROW)
            picture = _Picture()
            for name in sorted({name for row in rows for name in row} - _NOT_METRICS):
                points = [(row["epoch"], row[name]) for row in rows if name in row]
                file_name = re.sub(r"\W+", "_", name) + ".png"
                picture.save(self.folder.plots / file_name, name, points)


class _Picture:
    """Reusable canvas, because a new one for each metric would take three times as long.

    A layout computed anew for each would too, so the margins are fixed, with room for numbers of
    eight letters.
    """

    def __init__(self) -> None:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        self._figure = Figure(figsize=(5, 3.2))
        self._figure.subplots_adjust(left=0.14, right=0.97, bottom=0.15, top=0.92)
        self._axes = self._figure.add_subplot(xlabel="epoch")
        self._axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        (self._line,) = self._axes.plot([], [])

    def save(self, path: Path, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Draw the curve through ``points``, pairs of an epoch and a value, into ``path``."""
        self._line.set_data(*zip(*points, strict=True))
        self._line.set_marker("." if len(points) < _FEW_POINTS else "")
        self._axes.set_title(name, fontsize="medium", parse_math=False)
        self._axes.relim()
        self._axes.autoscale_view()
        with replacing(path) as file:
            self._figure.savefig(file, format="png", dpi=120)


class TensorBoardWriter(Callback):
    """Writer of metrics as TensorBoard scalars below the run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Open an event file; epochs that a resumed fit repeats are purged."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.folder), purge_step=trainer.epoch)

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Add the epoch's scalars."""
        for name in metrics.keys() - _NOT_METRICS:
            self._writer.add_scalar(name, metrics[name], metrics["epoch"])

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


class WandbWriter(Callback):
    """Writer of metrics to Weights & Biases, and of the run's files at the end."""

    def __init__(self, config: FitConfig, folder: RunFolder) -> None:
        self.config = config
        self.folder = folder
        self.run_id = config.wandb_resume_id
        self._run: Any = None

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Open the run, or resume the one of an interrupted fit."""
        import wandb

        with undisturbed():
            self._run = wandb.init(
                project=self.config.wandb_project_name,
                entity=self.config.wandb_entity_name,
                tags=list(self.config.tags),
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
        """Send the epoch's metrics."""
        self._run.log(metrics, step=metrics["epoch"])

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """Upload the run's own files except the excluded ones."""
        for path in sorted(self.folder.path.iterdir()):
            excluded = any(fnmatch(path.name, p) for p in self.config.wandb_exclude_files)
            if path.is_file() and not path.name.startswith(".") and not excluded:
                self._run.save(str(path), base_path=str(self.folder.path), policy="now")

    def close(self) -> None:
        """End the connection; an interrupted run can be resumed."""
        if self._run is not None:
            self._run.finish()

    def state(self) -> dict[str, Any]:
        """Return the run's id, so that a resumed fit uses the same one."""
        return {"run_id": self.run_id}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state`."""
        self.run_id = state.get("run_id", self.run_id)


def writers(config: FitConfig, folder: RunFolder) -> list[Callback]:
    """Return the configured writers."""
    every = config.validate_every * config.save_every_num_val
    found: list[Callback] = []
    found += [MetricPlots(folder, every)] if config.save_metric_plots else []
    found += [TensorBoardWriter(folder.path / "tensorboard")] if config.use_tensorboard else []
    found += [WandbWriter(config, folder)] if config.use_wandb else []
    return found
