"""Makes all drills, or those named, and prints a table; the exit status says whether all held.

``python -m tests.drills kills full_disk --seed 3 --minutes 40``
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.conftest import PROJECT
from tests.drills.drill import DRILLS, Ground, Size
from tests.small_disks import NoMountError

_MINUTES = 10.0
_MINUTES_OF_WHOLE = 40.0
"""What the whole takes: 60 runs of three kinds, and two that make their language model, are killed
60 times; and 3,000 plans are mutated."""
_PLANS_OF_WHOLE = 3000


def _size(minutes: float) -> Size:
    """How large drills are that take so many minutes together, on two cores without other work."""
    share = minutes / _MINUTES_OF_WHOLE
    return Size(
        controlled=max(1, round(5 * share)),
        text=max(1, round(20 * share)),
        length=2,
        workers=4,
        kills=max(3, round(60 * share)),
        troubles=max(2, round(6 * share)),
    )


def _mutated_plans(folder: Path, seed: int, minutes: float) -> str:
    """Mutated plans are answered in one message, soon, and nothing is written."""
    command = [
        sys.executable,
        "-m",
        "tests.drills.fuzzing",
        str(folder),
        str(max(100, round(_PLANS_OF_WHOLE * minutes / _MINUTES_OF_WHOLE))),
        str(seed),
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _all(folder: Path, seed: int, minutes: float) -> dict[str, Callable[[], str]]:
    ground = Ground(folder, _size(minutes), seed)
    drills = {drill.__name__: partial(drill, ground) for drill in DRILLS}
    return {**drills, "mutated_plans": partial(_mutated_plans, folder, seed, minutes)}


def main() -> int:
    """Makes the drills; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.drills")
    parser.add_argument("names", nargs="*", help="drills to make; all of them without a name")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is random")
    parser.add_argument(
        "--minutes", type=float, default=_MINUTES,
        help="what all together take on two cores without other work, by which they are as large "
        "as they are (default: %(default)g; the whole takes 40)",
    )  # fmt: skip
    arguments = parser.parse_args()
    all_held = True
    with tempfile.TemporaryDirectory(prefix="drills-") as folder:
        for name, drill in _all(Path(folder), arguments.seed, arguments.minutes).items():
            if arguments.names and name not in arguments.names:
                continue
            started = time.monotonic()
            try:
                held, said = "held", drill()
            except NoMountError as error:
                held, said = "left out", str(error)
            except Exception:
                held, said, all_held = "FAILED", traceback.format_exc(), False
            seconds = time.monotonic() - started
            print(f"{name:16}  {held:8}  {seconds:6.0f} s  {said}", flush=True)
    return 0 if all_held else 1


if __name__ == "__main__":
    sys.exit(main())
