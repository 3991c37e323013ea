"""``run_plan.py`` as a process, its runs by name, and how to kill it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from common.run.folder import RunFolder

_PROJECT = Path(__file__).resolve().parents[2]
_LONGEST_WAIT = 150.0  # seconds
_BETWEEN_LOOKS = 0.05


class Command:
    """A plan that is being run in a folder of its own; killed at the end of a ``with`` block."""

    def __init__(
        self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """``environment`` is added to this process's."""
        self.folder = folder
        self._log = folder / "printed.txt"
        with self._log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_PROJECT / "run_plan.py"), "--plan_config_path", "plan.json",
                 *arguments],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip

    def __enter__(self) -> Command:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        self.kill()

    @property
    def printed(self) -> str:
        """What it has printed."""
        return self._log.read_text(encoding="utf-8")

    def runs(self) -> dict[str, RunFolder]:
        """The folders of the runs that have begun, by name."""
        return runs_of(self.folder)

    def wait(self, *, longest: float = _LONGEST_WAIT) -> int:
        """Its exit status.

        Raises:
            TimeoutExpired: it goes on for more than so many seconds.
        """
        return self.process.wait(longest)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits while it goes on.

        Raises:
            AssertionError: it has ended before, or it takes too long.
        """
        deadline = time.monotonic() + _LONGEST_WAIT
        while not condition():
            assert self.process.poll() is None, f"it has ended: {self.printed[-2000:]}"
            assert time.monotonic() < deadline, f"waited in vain: {self.printed[-2000:]}"
            time.sleep(_BETWEEN_LOOKS)

    def kill(self) -> None:
        """Kills it, and what is left of its runs, without a chance to write anything."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            for folder in self.runs().values():
                kill_run(folder)


def runs_of(folder: Path) -> dict[str, RunFolder]:
    """The folders of a plan's runs, by name."""
    found = sorted(folder.glob("outputs/*/plan/*/status.json"))
    return {path.parent.name.rpartition("-")[0]: RunFolder(path.parent) for path in found}


def kill_run(folder: RunFolder) -> None:
    """Kills the process that makes the run, if there is one."""
    status = folder.read_status()
    if status["status"] == "running":
        with suppress(ProcessLookupError):
            os.kill(status["pid"], signal.SIGKILL)


def write_plan(folder: Path, document: dict[str, Any]) -> Path:
    """Writes ``plan.json`` to a new folder, which it gives."""
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(document))
    return folder


def configurations(runs: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Of runs by name; each has its keys, with its kind at ``experiment``."""
    found = []
    for name, run in runs.items():
        keys = {**run, "experiment_name": name}
        kind = keys.pop("experiment", "sft_vs_rft")
        found.append({"experiment": kind, "base_config": keys})
    return found
