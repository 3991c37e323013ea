"""Lost attempts: their process died, or was ended at a time limit, before the run had ended.

They are counted in the runs' ``status.json``, whichever executor has lost them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from common.files.fsync import make_folder
from common.run import status
from common.run.folder import RunFolder
from common.run.lease import holding
from common.run.status import DONE, FAILED, INTERRUPTED, WAITING
from common.runner.scheduling.task import Task

_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def record_loss(tasks: Sequence[Task], reason: str, *, of_another_rank: bool = False) -> None:
    """Count that the attempt at the tasks of a slot was lost; the last one allowed fails the run.

    Nothing changes for runs whose end the attempt has recorded, or that another process makes by
    now. With ``of_another_rank``, another process of the run was lost, and a failure that the first
    one has recorded is its consequence.

    An attempt that several runs shared fails none of them, as one may have caused the loss. They
    are interrupted, and made alone from then on.

    Raises:
        OSError: there is no space for the status.
    """
    for task in tasks:
        folder = RunFolder(Path(task.folder))
        make_folder(folder.path)
        with holding(folder.path) as is_free:
            ended = {DONE} if of_another_rank else {DONE, FAILED}
            if is_free and folder.read_status().get("status") not in ended:
                _count(folder, task, reason, is_shared=len(tasks) > 1)


def _count(folder: RunFolder, task: Task, reason: str, *, is_shared: bool) -> None:
    found = folder.read_status()
    lost = found.get("lost", 0) + 1
    before_its_begin = found.get("status", WAITING) == WAITING
    attempt = max(found.get("attempt", 0) + before_its_begin, lost)
    is_last = lost >= task.max_attempts and not is_shared
    attempts = f"{lost} attempt{'s' if lost > 1 else ''}"
    status.end(
        folder,
        FAILED if is_last else INTERRUPTED,
        reason=f"{reason} ({attempts})" if is_last else reason,
        attempt=attempt,
        lost=lost,
        **task.identity,
    )
    _append(folder.log, f"attempt {attempt} was lost: {reason}")


def _append(path: Path, message: str) -> None:
    """Append a line to a run's log, in the format of its own lines."""
    record = logging.LogRecord(__name__, logging.ERROR, str(path), 0, message, None, None)
    with suppress(OSError), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{logging.Formatter(_FORMAT).format(record)}\n")
