"""Records of runs whose program has ended before it could tell; light, as the user waits for it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from common.process.endings import how_it_ended
from common.run import status
from common.run.folder import PlanFolder, RunFolder
from common.run.status import INTERRUPTED, RUNNING
from common.runner.index import refresh

_STDERR = 2
_STOPPED = b"stopped at once; run the same command again to resume from the last checkpoints\n"


def tell_folder(path: str, code: int | None) -> None:
    """Record in a plan's folder how its program has ended; None if the user has stopped it."""
    if code is None:
        with suppress(OSError):
            os.write(_STDERR, _STOPPED)
    reason = "stopped at once" if code is None else how_it_ended(code, "program")
    folder = PlanFolder(Path(path))
    for record in folder.path.glob("*/status.json"):
        run = RunFolder(record.parent)
        found = run.read_status()
        if found.get("status") == RUNNING:
            status.end_from_outside(run, INTERRUPTED, reason=reason)
    refresh(folder)
