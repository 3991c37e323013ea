"""Checkpoints of the transformers Trainer: resume from complete ones, removal of damaged ones."""

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
    """Start the tracking at the last good checkpoint in ``folder``.

    Without one, the run starts anew. All ranks call it.
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
    """Return the steps of the newest checkpoint in ``folder``; 0 if there is none."""
    found = last_checkpoint(folder)
    return 0 if found is None else _number(found)


def _take_damaged_away(folder: Path) -> None:
    """Remove damaged checkpoints, so that none outlives a good one."""
    damages: list[DamagedError] = []
    for checkpoint in _checkpoints(folder):
        try:
            check_seal(checkpoint)
        except DamagedError as error:
            damages.append(error)
            shutil.rmtree(checkpoint)
    left = last_checkpoint(folder)
    so = (
        "the run starts again from the beginning"
        if left is None
        else f"the run resumes from {left}"
    )
    for damage in damages:
        log.warning("%s; %s", damage, so)


def _steps_measured(folder: Path) -> set[int]:
    """Return the steps with a row of metrics that the last checkpoint relies on."""
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
