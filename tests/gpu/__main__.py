"""Checks and measures what only a GPU can show: ``python -m tests.gpu``.

Each part is a process of its own with a limit; the report is written anew after each. ``--device
cpu`` makes every part in small, to see that the check itself works. Exit status: 0 all parts were
made and nothing failed; 1 something failed or was not run; 2 there is nothing to run on.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.gpu import report
from tests.gpu.findings import Check, Error
from tests.gpu.machine import gpus, machine
from tests.gpu.parts import PARTS, PLANS, Part
from tests.gpu.running import Result, make

_EXIT_FAILED, _EXIT_REFUSED, _EXIT_INTERRUPTED, _EXIT_TERMINATED = 1, 2, 130, 143
_SIDE_BY_SIDE = 4
"""Parts at a time on a GPU: their contexts and models fit beside each other."""
_MINUTES = {"cuda": 6.0, "cpu": 10.0}


def _parser(parts: Sequence[Part]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda",
                        help="cpu makes every part in small")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu"), metavar="FOLDER",
                        help="where the report goes (default: outputs/gpu)")  # fmt: skip
    parser.add_argument("--plans", action="store_true",
                        help="make plans at published size instead of the checks")  # fmt: skip
    names = ", ".join(part.name for part in parts)
    parser.add_argument("--only", action="append", metavar="NAME",
                        help=f"make this part; repeatable; one of {names}")  # fmt: skip
    parser.add_argument("--minutes", type=float,
                        help="what is not done by then is ended (default: 6; cpu 10)"
                        )  # fmt: skip
    return parser


class _Board:
    """The results as they come: on the console, and in the report."""

    def __init__(self, folder: Path, facts: dict[str, str], parts: Sequence[Part]) -> None:
        self._folder, self._facts = folder, facts
        self.results = {part.name: Result(part.name) for part in parts}

    def note(self, result: Result) -> None:
        """Says how a part has ended and what failed in it, and writes the report anew."""
        self.results[result.name] = result
        if result.is_over:
            print(f"{result.name:24s} {result.status} ({result.seconds:.0f} s)", flush=True)
        for finding in result.findings:
            if isinstance(finding, Check) and not finding.passed:
                print(f"  {report.told(finding)}", flush=True)
            elif isinstance(finding, Error):
                print(f"  {finding.name}: {report.message(finding.text)}", flush=True)
        for title, text in result.last_words.items():
            print(f"  {title}: {report.message(text)}", flush=True)
        self.write()

    def write(self) -> None:
        """Writes the report."""
        report.write(self._folder, self._facts, list(self.results.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the parts; gives the exit status."""
    parser = _parser((*PARTS, *PLANS))
    args = parser.parse_args(arguments)
    known = {part.name: part for part in (*PARTS, *PLANS)}
    unknown = [name for name in args.only or () if name not in known]
    if unknown:
        parser.error(f"--only {unknown[0]}: no such part; known: {', '.join(known)}")
    if args.device == "cuda" and not gpus():
        print("error: nvidia-smi finds no GPU here; --device cpu makes every part in small",
              file=sys.stderr)  # fmt: skip
        return _EXIT_REFUSED
    chosen = PLANS if args.plans else PARTS
    parts = [known[name] for name in dict.fromkeys(args.only)] if args.only else list(chosen)
    logs = args.out.resolve() / "parts"
    logs.mkdir(parents=True, exist_ok=True)
    board = _Board(args.out.resolve(), machine(args.device), parts)
    board.write()
    minutes = args.minutes or _MINUTES[args.device]
    try:
        make(
            parts,
            device=args.device,
            folder=logs,
            side_by_side=min(_SIDE_BY_SIDE, len(os.sched_getaffinity(0))),
            deadline=time.monotonic() + 60 * minutes,
            note=board.note,
        )
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    finally:
        print(report.summary(list(board.results.values())))
        print(f"report: {args.out / 'report.md'}")
    return 0 if all(result.is_fine for result in board.results.values()) else _EXIT_FAILED


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_EXIT_TERMINATED))  # parts are ended first
    sys.exit(main())
