"""Makes parts, each in a process of its own that is ended at its limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.gpu.findings import Check, Error, Finding, LeftOut, read
from tests.gpu.parts import Part

DEVICE, FOUND = "GPU_CHECK_DEVICE", "GPU_CHECK_FINDINGS"
"""Environment of a part: the device's type, and the file of its findings."""
STACK = signal.SIGUSR1
"""Has a part write where it is, beside its findings, to a file that ends in ``.stack``."""
WAITING, RUNNING, PASSED, LEFT_OUT, NOT_RUN = "waiting", "running", "passed", "left out", "not run"
FAILED, STOPPED = "failed", "stopped with the whole check"
PROJECT = Path(__file__).resolve().parents[2]
_NOTHING_COLLECTED = 5
_BETWEEN_LOOKS = 0.1
_CPU_FACTOR = 2
_LOOKS_FOR_WHERE = 300
"""Looks for the first words of where a part is; on a busy machine they take a while."""
_SECONDS_TO_SAY_WHERE = 1.0
_LAST_CHARACTERS = 10_000


@dataclass(frozen=True)
class Result:
    """How a part stands."""

    name: str
    status: str = WAITING
    """One of the words above, or how its process ended."""
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    last_words: dict[str, str] = field(default_factory=dict)
    """What tells why it ended as it did, by title, where its findings do not."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.status not in (WAITING, RUNNING)

    @property
    def is_fine(self) -> bool:
        """Whether it found nothing wrong in all that could be looked at."""
        return self.status in (PASSED, LEFT_OUT)

    @property
    def has_failed(self) -> bool:
        """Whether something is wrong."""
        return self.is_over and not self.is_fine and self.status != NOT_RUN


class _Running:
    """The process of a part."""

    def __init__(
        self, part: Part, device: str, folder: Path, threads: int, deadline: float
    ) -> None:
        self.part = part
        self._found = folder / f"{part.name}.jsonl"
        self._log = self._found.with_suffix(".log")
        self._stack = self._found.with_suffix(".stack")
        for path in (self._found, self._stack):
            path.unlink(missing_ok=True)
        self._started = time.monotonic()
        limit = part.limit * (_CPU_FACTOR if device == "cpu" else 1)
        self._limit = min(limit, deadline - self._started)
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "-W", "default",
                 "-p", "no:cacheprovider", "-m", "gpu", part.file],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(device, self._found, threads),
                start_new_session=True,
            )  # fmt: skip

    def result(self) -> Result | None:
        """How it ended; None while it goes on within its limit."""
        code = self._process.poll()
        if code is None and time.monotonic() - self._started < self._limit:
            return None
        if code is None:
            self._say_where_it_is()
            return self.end(f"ended at its limit of {self._limit:.0f} s")
        return self.end(_status(code, read(self._found)))

    def end(self, status: str) -> Result:
        """Ends the process and all it has started; gives what it found, with this status."""
        seconds = time.monotonic() - self._started
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        _end_all(f"{FOUND}={self._found}")
        is_told = status in (PASSED, LEFT_OUT, FAILED)
        words = {} if is_told else self._last_words()
        return Result(self.part.name, status, seconds, read(self._found), words)

    def _say_where_it_is(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, STACK)
        for _ in range(_LOOKS_FOR_WHERE):
            if self._process.poll() is not None or _has_text(self._stack):
                break
            time.sleep(_BETWEEN_LOOKS)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_SAY_WHERE)

    def _last_words(self) -> dict[str, str]:
        places = {"where it was": self._stack, "what it printed last": self._log}
        texts = {title: path.read_text(encoding="utf-8", errors="replace").strip()
                 for title, path in places.items() if path.exists()}  # fmt: skip
        return {title: text[-_LAST_CHARACTERS:] for title, text in texts.items() if text}


def _has_text(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _end_all(mark: str) -> None:
    """Ends all processes with this in their environment: workers stand in sessions of their own."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it is gone, or someone else's
            if mark.encode() in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


def _environment(device: str, found: Path, threads: int) -> dict[str, str]:
    environment = {
        **os.environ,
        DEVICE: device,
        FOUND: str(found),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
    }
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def _status(code: int, findings: Sequence[Finding]) -> str:
    """What the exit status of a part's process and its findings say together."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    wrong = any(isinstance(f, Error) or (isinstance(f, Check) and not f.passed) for f in findings)
    if wrong:
        return FAILED
    if code not in (0, _NOTHING_COLLECTED):
        return f"{FAILED} with exit status {code}"
    only_left_out = findings and all(isinstance(finding, LeftOut) for finding in findings)
    if only_left_out:
        return LEFT_OUT
    return PASSED if findings else f"{FAILED}: it found nothing"


def make(
    parts: Sequence[Part],
    *,
    device: str,
    folder: Path,
    side_by_side: int,
    deadline: float,
    note: Callable[[Result], None],
) -> None:
    """Makes the parts: first those that may run side by side, then the others alone.

    Args:
        parts: in the order in which they begin.
        device: ``cuda`` or ``cpu``.
        folder: where each leaves its findings and what it printed.
        side_by_side: as many at a time.
        deadline: of the monotonic clock; what has not begun by then is not run, and what goes on
            is ended.
        note: told of each part as it begins and as it ends.
    """
    cores = len(os.sched_getaffinity(0))
    lanes = (
        ([part for part in parts if not part.alone], side_by_side),
        ([part for part in parts if part.alone], 1),
    )
    for waiting, width in lanes:
        _make_lane(waiting, device, folder, width, max(1, cores // width), deadline, note)


def _make_lane(
    waiting: list[Part], device: str, folder: Path, width: int, threads: int, deadline: float,
    note: Callable[[Result], None],
) -> None:  # fmt: skip
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < width:
                part = waiting.pop(0)
                if time.monotonic() > deadline:
                    note(Result(part.name, NOT_RUN))
                else:
                    running.append(_Running(part, device, folder, threads, deadline))
                    note(Result(part.name, RUNNING))
            for one in list(running):
                result = one.result()
                if result is not None:
                    running.remove(one)
                    note(result)
            time.sleep(_BETWEEN_LOOKS)
    finally:
        for one in running:
            note(one.end(STOPPED))
