"""Checkpoints of the transformers Trainer: whole ones are gone on from, damaged ones are named."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from common import distributed
from common.run.folder import read_json
from common.run.records import DamagedError
from common.run.sealed_folder import check_seal
from grue.runs.tracking import Tracker

log = logging.getLogger(__name__)


def go_on(folder: Path, tracker: Tracker) -> None:
    """Begin the tracking where the last good checkpoint in ``folder`` stands.

    Where there is none, the run begins anew. Called by all ranks alike.
    """
    if distributed.is_main():
        _take_damaged_away(folder)
    distributed.broadcast(None)  # the others read what is left
    tracker.forgets_run(_steps_measured(folder))
    tracker.begin(steps_done(folder))


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint in ``folder``."""
    return max(_checkpoints(folder), key=_number, default=None)


def steps_done(folder: Path) -> int:
    """Return the steps of the newest checkpoint in ``folder``; 0 where there is none."""
    found = last_checkpoint(folder)
    return 0 if found is None else _number(found)


def _take_damaged_away(folder: Path) -> None:
    """Leave whole checkpoints alone, so that no damaged one outlives a good one."""
    damages: list[DamagedError] = []
    for checkpoint in _checkpoints(folder):
        try:
            check_seal(checkpoint)
        except DamagedError as error:
            damages.append(error)
            shutil.rmtree(checkpoint)
    left = last_checkpoint(folder)
    so = "the run begins anew" if left is None else f"the run goes on from {left}"
    for damage in damages:
        log.warning("%s; %s", damage, so)


def _steps_measured(folder: Path) -> set[int]:
    """Return the steps with a row of metrics that the last checkpoint counts on."""
    last = last_checkpoint(folder)
    if last is None:
        return set()
    history: list[dict[str, Any]] = read_json(last / "trainer_state.json")["log_history"]
    return {0, *(entry["step"] for entry in history if "loss" in entry)}


def _checkpoints(folder: Path) -> list[Path]:
    found = folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")
    return [path for path in found if path.name.rpartition("-")[2].isdecimal()]


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
