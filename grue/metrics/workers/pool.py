"""Pool of worker processes: starts them, hands out chunks of pairs, collects scores.

The workers are started when first needed and serve all metrics of this process. They end when it
ends, however that happens.
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
"""Number of a chunk, and its pairs."""


def num_threads() -> int:
    """Return the number of threads that this process computes with."""
    import torch

    return torch.get_num_threads()


def score(
    metric: type[MakesScorer], args: Config, pairs: Sequence[Pair], most: int | None
) -> list[Row] | None:
    """Return one row per pair, from at most ``most`` processes.

    None for one per thread, up to eight. The result is None if fewer than two are allowed, or if
    one has failed; workers are not started again after a failure.
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
    """Worker process, which runs `grue.metrics.workers.worker`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "grue.metrics.workers.worker", str(os.getpid())],
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
        """Send a chunk; an idle worker reads it at once."""
        pickle.dump((job, *chunk), self.input)
        self.input.flush()

    def answer(self) -> tuple[int, list[Row]]:
        """Return the number of the chunk, and its rows."""
        answer: tuple[int, list[Row]] = pickle.load(self.output)
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.input, self.output):
            with suppress(OSError):
                stream.close()


class _WorkerPool:
    """Workers of this process."""

    has_failed: ClassVar[bool] = False

    def __init__(self) -> None:
        self._workers: list[_Worker] = []

    def score(self, job: bytes, pairs: Sequence[Pair], size: int) -> list[Row]:
        """Return one row per pair; a worker that finishes a chunk gets the next one."""
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
        """End all workers."""
        while self._workers:
            self._workers.pop().close()


def _chunks(pairs: Sequence[Pair], size: int) -> list[Chunk]:
    """Return numbered chunks of equal length, several for each of ``size`` workers."""
    length = max(_LEAST, -(-len(pairs) // (size * _CHUNKS_PER_WORKER)))
    starts = range(0, len(pairs), length)
    return [(number, pairs[start : start + length]) for number, start in enumerate(starts)]


_pool = _WorkerPool()
atexit.register(_pool.close)
