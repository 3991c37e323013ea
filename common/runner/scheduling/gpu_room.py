"""Room in the memory of GPUs for another run, by what runs of its kind have needed."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.machine.gpu_memory import memory_of
from common.plan.run import Run

log = logging.getLogger(__name__)

_GIBI = 2**30
_CONTEXT = 2**29
"""Bytes of a process on a GPU besides what torch counts: CUDA itself, and what libraries load."""


@dataclass(frozen=True, eq=False)
class _Process:
    """Runs that one process makes together."""

    kinds: frozenset[Hashable]
    gpu_ids: Sequence[int]


class GpuRoom:
    """Largest peaks of runs by their kind, and the runs under way on each GPU.

    A GPU whose memory is not known has room.
    """

    def __init__(self) -> None:
        self._peaks: dict[Hashable, int] = {}
        self._under_way: dict[Run, _Process] = {}
        self._of_others: dict[int, int] = {}
        """Bytes held on a GPU when no run of this program was under way there."""
        self._told: set[Hashable] = set()

    def note(self, kind: Hashable, peak: int) -> None:
        """Note the peak of a run that has ended; 0 without one."""
        if peak:
            self._peaks[kind] = max(peak, self._peaks.get(kind, 0))

    def take(self, kinds: Mapping[Run, Hashable], gpu_ids: Sequence[int]) -> None:
        """Note that runs, each with its kind, are started in one process on these GPUs."""
        process = _Process(frozenset(kinds.values()), gpu_ids)
        self._under_way |= dict.fromkeys(kinds, process)

    def leave(self, run: Run) -> None:
        """Note that the run is under way no longer."""
        self._under_way.pop(run, None)

    def is_there_for(
        self, run: Run, kind: Hashable, gpu_ids: Sequence[int], idle: Sequence[int] = ()
    ) -> bool:
        """Return whether the run may be started beside those that are under way on its GPUs.

        A run that is alone there, and the first one of a kind, may always be started. ``idle`` has
        the GPUs of idle workers, which make the run or give their memory back.
        """
        if not self._peaks and self._of_others.keys() >= set(gpu_ids):
            return True
        need = self._need(kind)
        for gpu, memory in memory_of(gpu_ids).items():
            beside = {one for one in self._under_way.values() if gpu in one.gpu_ids}
            free_now = min(memory.total, memory.free + _CONTEXT * idle.count(gpu))
            if not beside:
                self._of_others[gpu] = memory.total - free_now
            elif need and need > (
                free := min(free_now, memory.total - self._promised(gpu, beside))
            ):
                self._tell(run, kind, gpu, free)
                return False
        return True

    def _promised(self, gpu: int, beside: Iterable[_Process]) -> int:
        """Return the bytes that others hold and that those beside take as they reach their peaks.

        The peak of a run that was made with others is that of their process.
        """
        needs = [max(map(self._need, process.kinds)) for process in beside]
        return self._of_others.get(gpu, 0) + sum(needs)

    def _need(self, kind: Hashable) -> int:
        """Return the bytes that a run of this kind needs on each of its GPUs; 0 if unknown."""
        peak = self._peaks.get(kind, 0)
        return peak + _CONTEXT if peak else 0

    def _tell(self, run: Run, kind: Hashable, gpu: int, free: int) -> None:
        """Say once of each kind that it waits."""
        if kind not in self._told:
            self._told.add(kind)
            log.warning(
                "%s waits for memory of GPU %d: such runs have taken up to %.1f GiB, and %.1f GiB "
                "are free", run.name, gpu, self._need(kind) / _GIBI, max(free, 0) / _GIBI,
            )  # fmt: skip
