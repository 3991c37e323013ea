"""A pool of processes that score pairs of outputs and references beside this one.

They are started when first needed, serve all metrics of this process, and end when it ends,
however that happens: each reads its standard input to the end.
"""

from __future__ import annotations

import atexit
import logging
import os
import pickle
import selectors
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from common.config.base import Config

if TYPE_CHECKING:
    from grue.metrics.workers.pair import MakesScorer, Pair, Row

log = logging.getLogger(__name__)

_CHUNKS_PER_WORKER = 4
_LEAST = 16  # pairs of a chunk
_MOST_UNASKED = 8  # workers, each of which holds the libraries and WordNet

Chunk = tuple[int, "Sequence[Pair]"]
"""A number, and the pairs to score."""


def num_threads() -> int:
    """The threads that this process computes with."""
    import torch

    return torch.get_num_threads()


def score(
    metric: type[MakesScorer], args: Config, pairs: Sequence[Pair], most: int | None
) -> list[Row] | None:
    """One row per pair, from at most ``most`` processes; None for one per thread, up to eight.

    None where fewer than two are allowed, or where one has failed; then none is started again.
    """
    size = min(num_threads(), _MOST_UNASKED) if most is None else most
    if size < 2 or _WorkerPool.has_failed:
        return None
    try:
        return _pool.score(pickle.dumps((metric, args)), pairs, size)
    except (OSError, EOFError, pickle.PickleError, AttributeError, TypeError) as error:
        log.warning("scoring in one process, since worker processes failed: %r", error)
        _WorkerPool.has_failed = True
        _pool.close()
        return None


class _Worker:
    """A process of `grue.metrics.workers.worker`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "grue.metrics.workers.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            },
            start_new_session=True,  # a terminal's Ctrl-C is the run's to answer
        )
        assert self.process.stdin and self.process.stdout
        self.input = self.process.stdin
        self.output = self.process.stdout

    def ask(self, job: bytes, chunk: Chunk) -> None:
        """Hands over a chunk; an idle worker reads it at once."""
        pickle.dump((job, *chunk), self.input)
        self.input.flush()

    def answer(self) -> tuple[int, list[Row]]:
        """The number of the chunk, and its rows."""
        answer: tuple[int, list[Row]] = pickle.load(self.output)
        return answer

    def close(self) -> None:
        """Ends the process, which has nothing to lose."""
        self.process.kill()
        self.process.wait()
        for stream in (self.input, self.output):
            with suppress(OSError):
                stream.close()


class _WorkerPool:
    """The workers of this process."""

    has_failed: ClassVar[bool] = False

    def __init__(self) -> None:
        self._workers: list[_Worker] = []

    def score(self, job: bytes, pairs: Sequence[Pair], size: int) -> list[Row]:
        """One row per pair; a worker that has ended its chunk is given the next one."""
        while len(self._workers) < size:
            self._workers.append(_Worker())
        waiting = _chunks(pairs, size)
        rows: dict[int, list[Row]] = {}
        count = len(waiting)
        with selectors.DefaultSelector() as selector:
            for worker in self._workers[:size]:
                if waiting:
                    worker.ask(job, waiting.pop())
                    selector.register(worker.output, selectors.EVENT_READ, worker)
            while len(rows) < count:
                for key, _ in selector.select():
                    number, rows[number] = key.data.answer()
                    if waiting:
                        key.data.ask(job, waiting.pop())
        return [row for number in range(count) for row in rows[number]]

    def close(self) -> None:
        """Ends all workers."""
        while self._workers:
            self._workers.pop().close()


def _chunks(pairs: Sequence[Pair], size: int) -> list[Chunk]:
    """Numbered parts of equal length, some for each of ``size`` workers."""
    length = max(_LEAST, -(-len(pairs) // (size * _CHUNKS_PER_WORKER)))
    starts = range(0, len(pairs), length)
    return [(number, pairs[start : start + length]) for number, start in enumerate(starts)]


_pool = _WorkerPool()
atexit.register(_pool.close)
