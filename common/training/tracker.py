"""Writer of ``metrics.jsonl``, which also sends its rows to other trackers."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import TypeAdapter
from torch import nn

from common import distributed
from common.config.run import RunConfig
from common.files.fsync import sync, sync_folder
from common.files.no_space import explaining_no_space
from common.run.folder import RunFolder, read_json_lines, write_text
from common.run.lease import check_lease
from common.run.record_schemas import EPOCH_ROW, STEP_ROW
from common.training.external_trackers import ExternalTracker, Row, WandbTracker, open_trackers

log = logging.getLogger(__name__)

Position = Literal["epoch", "step"]
_SCHEMAS: Mapping[str, TypeAdapter[Any]] = {"epoch": EPOCH_ROW, "step": STEP_ROW}
_MOST_SHOWN = 5  # steps in a message


class Tracker:
    """Tracker that writes rows of metrics, and sends them to the configured other trackers.

    A row is on the disk after `sync`, which comes before each checkpoint that counts on it. Of
    several ranks, the first one alone writes.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, position: Position) -> None:
        """Set ``position``, the entry of a row with the step of its measurements."""
        self._config = config
        self._folder = folder
        self._position = position
        self._file: IO[str] | None = None
        self._is_synced = True
        self._others: list[ExternalTracker] = []
        self.wandb_id: str | None = config.tracker_settings().run_id
        """Id of the run at Weights & Biases, once there is one."""

    def begin(self, keeps: Callable[[Row], bool]) -> None:
        """Drop the rows of steps that will be made again, and open the other trackers.

        ``keeps`` says of a row that an earlier attempt has written whether it stays.
        """
        if not distributed.is_main():
            return
        kept = [row for row in self.rows() if keeps(row)]
        if self._folder.metrics.exists():
            write_text(self._folder.metrics, "".join(map(_line, kept)))
            self._is_synced = False  # the folder is not, yet
        first_step = 1 + max((row[self._position] for row in kept), default=-1)
        self._others = open_trackers(
            self._config, self._folder, first_step=first_step, wandb_id=self.wandb_id
        )
        for tracker in self._others:
            if isinstance(tracker, WandbTracker):
                self.wandb_id = tracker.run_id

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows so far."""
        return read_json_lines(self._folder.metrics, _SCHEMAS[self._position])

    def has_row_of(self, step: int) -> bool:
        """Return whether there is a row of a step; called by all ranks alike."""
        return distributed.broadcast(any(row[self._position] == step for row in self.rows()))

    def lost_rows(self, steps: Iterable[int]) -> str | None:
        """Return which rows of ``steps`` are missing, for people; None where none is.

        What was measured there cannot be measured of weights that have been trained further.
        Called by all ranks alike.
        """
        lost = sorted(set(steps) - {row[self._position] for row in self.rows()})
        shown = ", ".join(map(str, lost[:_MOST_SHOWN])) + ", ..." * (len(lost) > _MOST_SHOWN)
        message = (
            f"{self._folder.metrics} lacks rows of {self._position}s that the last checkpoint has "
            f"seen ({shown})"
        )
        return distributed.broadcast(message if lost else None)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; numbers that are not finite are left out."""
        if not distributed.is_main():
            return
        finite = {name: value for name, value in row.items() if math.isfinite(value)}
        line = _line(finite)
        with explaining_no_space(self._folder.metrics, len(line)):
            if self._file is None:
                self._file = self._folder.metrics.open("a", encoding="utf-8")
            check_lease(self._folder.metrics)
            self._file.write(line)
            self._file.flush()
        self._is_synced = False
        for tracker in self._others:
            tracker.log(finite, row[self._position])

    def sync(self) -> None:
        """Put the rows so far onto the disk: a checkpoint is about to count on them."""
        if self._is_synced:
            return
        with explaining_no_space(self._folder.metrics):
            if self._file is not None:
                sync(self._file.fileno())
            sync_folder(self._folder.path)
        self._is_synced = True

    def add_table(self, name: str, records: Sequence[Row]) -> None:
        """Send records of equal keys to the trackers that take tables, with the next row."""
        for tracker in self._others if records else ():
            tracker.add_table(name, records)

    def watch(self, model: nn.Module) -> None:
        """Let trackers follow gradients or weights of the model, where asked for."""
        for tracker in self._others:
            tracker.watch(model)

    def upload_files(self) -> None:
        """Send the files of the run's folder, where asked for."""
        for tracker in self._others:
            tracker.upload_files()

    def upload_model(self, folder: Path) -> None:
        """Send the model in ``folder`` to the trackers that take models."""
        for tracker in self._others:
            tracker.upload_model(folder)

    def close(self) -> None:
        """Close files and connections, however the run ends."""
        if self._file is not None:
            with suppress(OSError):  # of a line that did not fit, which has been told
                self._file.close()
            self._file = None
        others, self._others = self._others, []
        for tracker in others:
            tracker.close()


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"
