"""What a text run measures, as lines of ``metrics.jsonl`` and, if asked for, for other trackers."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import distributed
from common.files.durable import sync_folder
from common.run.folder import RunFolder, append_text, read_json_lines, write_text
from common.run.records import STEP_ROW
from common.training.seeding import undisturbed
from grue.runs.config import TrackedConfig

log = logging.getLogger(__name__)

_MOST_SHOWN = 5  # steps in a message


class Tracker:
    """Rows with ``epoch`` (a fraction) and ``step``, both counted from 0."""

    def __init__(self, config: TrackedConfig, folder: RunFolder) -> None:
        self._config = config
        self._folder = folder
        self._wandb: Any = None
        self._tables: dict[str, Any] = {}
        """What goes with the next row to Weights & Biases."""

    def begin(self, step: int) -> None:
        """Go on after ``step``: rows behind it are of steps that will be made again.

        So is the evaluation that is the last thing of a run. Of several ranks, the first one alone
        writes.
        """
        if not distributed.is_main():
            return
        rows = [row for row in self.rows() if row["step"] <= step and not _is_last(row)]
        write_text(self._folder.metrics, "".join(map(_line, rows)))
        sync_folder(self._folder.path)
        if self._config.log_to_wandb:
            self._wandb = self._open()

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows so far."""
        return read_json_lines(self._folder.metrics, STEP_ROW)

    def has_start(self) -> bool:
        """Return whether there is a row of the evaluation before training."""
        return distributed.broadcast(self._has_start())

    def _has_start(self) -> bool:
        return any(row["step"] == 0 for row in self.rows())

    def forgets_run(self, steps: Iterable[int]) -> bool:
        """Return whether a row is lost of ``steps`` that the last checkpoint has seen.

        0 is the start. The checkpoints are removed then, and the run begins anew: what was measured
        there cannot be measured of weights that have been trained further. Called by all ranks
        alike.
        """
        lost = sorted(set(steps) - {row["step"] for row in self.rows()})
        forgets = distributed.broadcast(bool(lost))
        if forgets and distributed.is_main():
            shown = ", ".join(map(str, lost[:_MOST_SHOWN])) + ", ..." * (len(lost) > _MOST_SHOWN)
            log.warning("%s lacks rows of steps that the last checkpoint has seen (%s); the run "
                        "begins anew", self._folder.metrics, shown)  # fmt: skip
            shutil.rmtree(self._folder.checkpoints)
        distributed.broadcast(None)  # the others read no checkpoint before
        return forgets

    def add(self, step: int, epoch: float, values: dict[str, float]) -> None:
        """Append a row; numbers that are not finite are left out."""
        if not distributed.is_main():
            return
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        row = {"epoch": epoch, "step": step, **finite}
        append_text(self._folder.metrics, _line(row))  # a later checkpoint counts on it
        if self._wandb is not None:
            self._wandb.log(row | self._tables, step=step)
            self._tables = {}

    def add_table(self, name: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Send records of equal keys to Weights & Biases as a table, with the next row."""
        if self._wandb is not None and records:
            import wandb

            data: list[Iterable[Any]] = [list(record.values()) for record in records]
            self._tables[name] = wandb.Table(columns=list(records[0]), data=data)

    def upload(self, model: Path) -> None:
        """Send the model to Weights & Biases."""
        import wandb

        artifact = wandb.Artifact(name=self._folder.path.name, type="model")
        artifact.add_dir(str(model))
        self._wandb.log_artifact(artifact)

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._wandb is not None:
            self._wandb.finish()

    def _open(self) -> Any:
        import wandb

        with undisturbed():
            return wandb.init(
                project=self._config.project_name,
                entity=self._config.entity_name,
                tags=list(self._config.tags),
                name=self._config.experiment_name,
                id=self._folder.path.name,
                resume="allow",
                dir=str(self._folder.path),
                config=self._config.model_dump(mode="json"),
            )


def _is_last(row: dict[str, Any]) -> bool:
    """Whether a row is a run's last evaluation: what is measured on the way stands beside training.

    That is a rollout or a loss.
    """
    return row["step"] > 0 and "loss" not in row and not _has(row, "rollout_info/")


def _has(row: dict[str, Any], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in row)


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"
