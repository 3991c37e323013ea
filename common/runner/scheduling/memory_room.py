"""Room in the memory of this machine and its GPUs for another run, by what its kind has needed."""

from __future__ import annotations

import logging
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
        *,
        workers: Collection[int] = (),
    ) -> bool:
        """Return whether the run may be started beside those that are running.

        What these have not taken of their peaks yet is left to them. The first run of a kind may
        always be started, and so may a run beside which no other one runs. ``gpu_ids`` are the
        GPUs that it would get, ``idle`` those of idle workers, and ``workers`` all worker
        processes.
        """
        return self._is_main_memory_there_for(run, running, workers) and self._gpus.is_there_for(
            run, _kind(run), gpu_ids, idle
        )

    def take(self, runs: Collection[Run], gpu_ids: Sequence[int]) -> None:
        """Note that the runs are started in one process on these GPUs."""
        self._gpus.take({run: _kind(run) for run in runs}, gpu_ids)

    def leave(self, run: Run) -> None:
        """Note that the run is under way no longer, however it has ended."""
        self._gpus.leave(run)

    def _is_main_memory_there_for(
        self, run: Run, running: Collection[Run], workers: Collection[int]
    ) -> bool:
        peak = self._peak_of(run)
        if not running or not peak:
            return True
        available = psutil.virtual_memory().available
        if peak + sum(map(self._peak_of, running)) <= available:
            return True
        free = available - self._to_be_taken(running, workers)
        if peak <= free:
            return True
        if _kind(run) not in self._told:
            self._told.add(_kind(run))
            log.warning(
                "%s waits for memory: such runs have taken up to %.1f GiB, and %.1f GiB are free",
                run.name, peak / _GIBI, max(free, 0) / _GIBI,
            )  # fmt: skip
        return False

    def _to_be_taken(self, running: Collection[Run], workers: Collection[int]) -> int:
        """Return the bytes that the runs will take in addition to what their processes hold.

        The largest process without a run, which may make the next one, gives its bytes back. Runs
        that share a process need what the largest of them does.
        """
        peaks: dict[int, int] = {}
        taken = 0
        for run in running:
            pid = RunFolder(run.folder).read_status().get("pid", 0)
            if pid in workers:
                peaks[pid] = max(self._peak_of(run), peaks.get(pid, 0))
            else:  # it has not begun
                taken += self._peak_of(run)
        taken += sum(max(0, peak - _held_by(pid)) for pid, peak in peaks.items())
        return taken - max((_held_by(pid) for pid in workers if pid not in peaks), default=0)

    def _peak_of(self, run: Run) -> int:
        return self._peaks.get(_kind(run), 0)


def _kind(run: Run) -> Hashable:
    return run.configuration


def _held_by(pid: int) -> int:
    """Return the bytes that a process holds; 0 if it has ended."""
    with suppress(psutil.Error):
        size: int = psutil.Process(pid).memory_info().rss
        return size
    return 0
