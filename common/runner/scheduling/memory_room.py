"""Room in the memory of this machine and its GPUs for another run, by what its kind has needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Hashable, Mapping, Sequence
from contextlib import suppress

import psutil

from common.plan.run import Run
from common.run.folder import RunFolder
from common.runner.run_state import RunState
from common.runner.scheduling.gpu_room import GpuRoom

log = logging.getLogger(__name__)

_GIBI = 2**30


class MemoryRoom:
    """Largest peaks of runs by their kind, a configuration of the plan."""

    def __init__(self, states: Mapping[Run, RunState]) -> None:
        """Begin with the peaks that are known of earlier attempts."""
        self._peaks: dict[Hashable, int] = {}
        self._told: set[Hashable] = set()
        self._gpus = GpuRoom()
        for run, state in states.items():
            self.note(run, state)

    def note(self, run: Run, state: RunState) -> None:
        """Note the peak of a run that has ended."""
        peak = max(self._peak_of(run), state.peak_memory or 0)
        if peak:
            self._peaks[_kind(run)] = peak
        self._gpus.note(_kind(run), state.peak_gpu_memory or 0)

    def is_there_for(
        self,
        run: Run,
        running: Collection[Run],
        gpu_ids: Sequence[int] = (),
        idle: Sequence[int] = (),
    ) -> bool:
        """Return whether the run may be started beside those that are running.

        What these have not taken of their peaks yet is left to them. The first run of a kind may
        always be started, and so may a run beside which no other one runs. ``gpu_ids`` are the
        GPUs that it would get, and ``idle`` those of idle workers.
        """
        return self._is_main_memory_there_for(run, running) and self._gpus.is_there_for(
            run, _kind(run), gpu_ids, idle
        )

    def take(self, runs: Collection[Run], gpu_ids: Sequence[int]) -> None:
        """Note that the runs are started in one process on these GPUs."""
        self._gpus.take({run: _kind(run) for run in runs}, gpu_ids)

    def leave(self, run: Run) -> None:
        """Note that the run is under way no longer, however it has ended."""
        self._gpus.leave(run)

    def _is_main_memory_there_for(self, run: Run, running: Collection[Run]) -> bool:
        peak = self._peak_of(run)
        if not running or not peak:
            return True
        available = psutil.virtual_memory().available
        if peak + sum(map(self._peak_of, running)) <= available:
            return True
        held = {other: _held_by(other) for other in running}
        still_taken = sum(max(0, self._peak_of(other) - held[other][1]) for other in running)
        free = available - still_taken + _largest_idle({pid for pid, _ in held.values()})
        if peak <= free:
            return True
        if _kind(run) not in self._told:
            self._told.add(_kind(run))
            log.warning(
                "%s waits for memory: such runs have taken up to %.1f GiB, and %.1f GiB are free",
                run.name, peak / _GIBI, max(free, 0) / _GIBI,
            )  # fmt: skip
        return False

    def _peak_of(self, run: Run) -> int:
        return self._peaks.get(_kind(run), 0)


def _kind(run: Run) -> Hashable:
    return run.configuration


def _held_by(run: Run) -> tuple[int, int]:
    """Return the process of a running run, and the bytes that it holds; 0, 0 before it begins."""
    pid = RunFolder(run.folder).read_status().get("pid", 0)
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.ppid() == os.getpid():  # else the run has not begun, or not here
            return pid, process.memory_info().rss
    return 0, 0


def _largest_idle(busy: Collection[int]) -> int:
    """Return the bytes of the largest child process without a run, which may make the next one."""
    sizes = [0]
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if child.pid not in busy:
                sizes.append(child.memory_info().rss)
    return max(sizes)
