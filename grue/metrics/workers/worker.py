"""Worker process: scores chunks of pairs from standard input for the process that started it.

It reads ``(job, number, pairs)`` and writes ``(number, rows)``, both pickled; a job is the pickled
class and args of a metric. It ends with its input, or at any error; on Linux also in the midst of a
chunk, with the process that started it.
"""

from __future__ import annotations

import functools
import os
import pickle
import sys
from typing import BinaryIO

from common.process.kinship import end_with
from grue.metrics.workers.pair import Scorer


@functools.cache
def _scorer(job: bytes) -> Scorer:
    metric, args = pickle.loads(job)
    scorer: Scorer = metric(args).make_scorer()
    return scorer


def serve(source: BinaryIO, answers: BinaryIO) -> None:
    """Answer chunk after chunk until ``source`` ends."""
    while True:
        try:
            job, number, pairs = pickle.load(source)
        except EOFError:
            return
        scorer = _scorer(job)
        pickle.dump((number, [scorer(output, references) for output, references in pairs]), answers)
        answers.flush()


def main() -> None:
    """Serve on standard input and output; libraries' prints go to standard error.

    The command line has the number of the process that started this one.
    """
    end_with(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
