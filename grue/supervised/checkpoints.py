"""Checkpoints of the transformers Trainer: resume from complete ones, removal of damaged ones."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from common import distributed
from common.run.folder import read_json
from common.run.folder_hashes import check_seal
from common.run.record_schemas import DamagedError

log = logging.getLogger(__name__)


def last_good_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in ``folder``; damaged ones are named and removed.

    Called by all ranks alike.
    """
    if distributed.is_main():
        _take_damaged_away(folder)
    distributed.broadcast(None)  # the others read what is left
    return last_checkpoint(folder)


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint in ``folder``."""
    return max(_checkpoints(folder), key=steps_done, default=None)


def steps_done(checkpoint: Path) -> int:
    """Return the steps after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


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


def steps_measured(checkpoint: Path) -> set[int]:
    """Return the steps with a row of metrics that a checkpoint counts on."""
    history: list[dict[str, Any]] = read_json(checkpoint / "trainer_state.json")["log_history"]
    return {0, *(entry["step"] for entry in history if "loss" in entry)}


def _checkpoints(folder: Path) -> list[Path]:
    found = folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")
    return [path for path in found if path.name.rpartition("-")[2].isdecimal()]
