"""Trackers beside ``metrics.jsonl``: TensorBoard, Weights & Biases and Trackio.

Their packages are optional, and each is imported when its tracker is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from torch import nn

from common.config.run import RunConfig
from common.config.tracker_settings import TrackerSettings
from common.run.folder import RunFolder
from common.training.seeding import undisturbed

Row = Mapping[str, Any]
NOT_METRICS = {"epoch", "step", "seconds"}
"""Entries of a row that say when it was measured."""
_PROJECT = "default"


class ExternalTracker:
    """Receiver of rows of metrics; each call does nothing unless overridden."""

    def log(self, row: Row, step: int) -> None:
        """Add a row of metrics, measured at ``step``."""

    def add_table(self, name: str, records: Sequence[Row]) -> None:
        """Add records of equal keys as a table, with the next row."""

    def watch(self, model: nn.Module) -> None:
        """Follow gradients or weights of the model, if asked for."""

    def upload_files(self) -> None:
        """Send the files of the run's folder, if asked for."""

    def upload_model(self, folder: Path) -> None:
        """Send the model in ``folder``."""

    def close(self) -> None:
        """Close files and connections; an interrupted run may open them again."""


class TensorBoardTracker(ExternalTracker):
    """TensorBoard event files below the run's folder."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """Open an event file; what was written of ``first_step`` and later steps is purged."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=first_step)

    def log(self, row: Row, step: int) -> None:
        """Add the row's scalars."""
        for name in sorted(row.keys() - NOT_METRICS):
            self._writer.add_scalar(name, row[name], step)

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class WandbTracker(ExternalTracker):
    """A run at Weights & Biases."""

    def __init__(self, folder: RunFolder, config: RunConfig, run_id: str | None) -> None:
        """Open a new run, or resume the one called ``run_id``."""
        import wandb

        self._package: Any = wandb
        self._folder = folder.path
        self._settings = config.tracker_settings()
        self._tables: dict[str, Any] = {}
        with undisturbed():
            self._run: Any = wandb.init(
                project=self._settings.project,
                entity=self._settings.entity,
                tags=list(config.tags),
                name=_run_name(self._settings, folder),
                id=run_id,
                resume="allow",
                dir=str(folder.path),
                config=config.model_dump(mode="json"),
            )

    @property
    def run_id(self) -> str:
        """Id of the run, by which a later attempt resumes it."""
        found: str = self._run.id
        return found

    def log(self, row: Row, step: int) -> None:
        """Send the row, and the tables since the last one."""
        self._run.log({**row, **self._tables}, step=step)
        self._tables = {}

    def add_table(self, name: str, records: Sequence[Row]) -> None:
        """Keep the table for the next row."""
        data = [list(record.values()) for record in records]
        self._tables[name] = self._package.Table(columns=list(records[0]), data=data)

    def watch(self, model: nn.Module) -> None:
        """Follow what ``wandb_track_model`` names."""
        watched = self._settings.watch
        if watched:
            self._run.watch(model, log="all" if watched is True else watched)

    def upload_files(self) -> None:
        """Send the folder's own files but for the excluded ones."""
        if not self._settings.uploads_files:
            return
        for path in sorted(self._folder.iterdir()):
            excluded = any(fnmatch(path.name, p) for p in self._settings.exclude_files)
            if path.is_file() and not path.name.startswith(".") and not excluded:
                self._run.save(str(path), base_path=str(self._folder), policy="now")

    def upload_model(self, folder: Path) -> None:
        """Send the model as an artifact."""
        artifact = self._package.Artifact(name=self._folder.name, type="model")
        artifact.add_dir(str(folder))
        self._run.log_artifact(artifact)

    def close(self) -> None:
        """End the connection."""
        self._run.finish()


class TrackioTracker(ExternalTracker):
    """A run at Trackio, which keeps it in a database on this machine."""

    def __init__(self, folder: RunFolder, config: RunConfig) -> None:
        """Open a run that is called like its folder, or resume it."""
        import trackio

        self._package: Any = trackio
        self._tables: dict[str, Any] = {}
        with undisturbed():
            self._run: Any = trackio.init(
                project=config.tracker_settings().project or _PROJECT,
                name=folder.path.name,
                config=config.model_dump(mode="json"),
                resume="allow",
            )

    def log(self, row: Row, step: int) -> None:
        """Write the row, and the tables since the last one."""
        self._run.log({**row, **self._tables}, step=step)
        self._tables = {}

    def add_table(self, name: str, records: Sequence[Row]) -> None:
        """Keep the table for the next row."""
        import pandas as pd

        self._tables[name] = self._package.Table(dataframe=pd.DataFrame(list(records)))

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()


def open_trackers(
    config: RunConfig, folder: RunFolder, *, first_step: int, wandb_id: str | None
) -> list[ExternalTracker]:
    """Open the trackers that the configuration asks for.

    Args:
        config: the run's configuration.
        folder: the run's folder.
        first_step: the step from which on rows will be added.
        wandb_id: the run at Weights & Biases to resume, if there is one; None for a new one.
    """
    settings, found = config.tracker_settings(), list[ExternalTracker]()
    if settings.tensorboard:
        found.append(TensorBoardTracker(folder.path / "tensorboard", first_step))
    if settings.wandb:
        found.append(WandbTracker(folder, config, wandb_id))
    if settings.trackio:
        found.append(TrackioTracker(folder, config))
    return found


def _run_name(settings: TrackerSettings, folder: RunFolder) -> str:
    return folder.path.name if settings.run_name is None else settings.run_name
