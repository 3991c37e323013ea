"""Makes all drills, or those named, and prints a table; the exit status says whether all held.

``python -m tests.drills kills full_disk --seed 3``
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.conftest import PROJECT
from tests.drills.drill import DRILLS, Ground, Size
from tests.small_disks import NoMountError

_SIZE = Size(controlled=5, text=20, length=2, workers=4, troubles=60)
"""60 runs of three kinds, and two that make their language model."""
_DISKS = Size(controlled=5, text=20, length=2, workers=4, troubles=6)
_NUM_PLANS = 3000


def _mutated_plans(folder: Path, seed: int) -> str:
    """Mutated plans are answered in one message, soon, and nothing is written."""
    command = [
        sys.executable,
        "-m",
        "tests.drills.fuzzing",
        str(folder),
        str(_NUM_PLANS),
        str(seed),
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _all(folder: Path, seed: int) -> dict[str, Callable[[], str]]:
    grounds = {size: Ground(folder / str(size.troubles), size, seed) for size in (_SIZE, _DISKS)}
    found: dict[str, Callable[[], str]] = {}
    for drill in DRILLS:
        size = _SIZE if drill.__name__ in ("kills", "several_runners") else _DISKS
        found[drill.__name__] = lambda drill=drill, size=size: drill(grounds[size])
    found["mutated_plans"] = lambda: _mutated_plans(folder, seed)
    return found


def main() -> int:
    """Makes the drills; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.drills")
    parser.add_argument("names", nargs="*", help="drills to make; all of them without a name")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is random")
    arguments = parser.parse_args()
    all_held = True
    with tempfile.TemporaryDirectory(prefix="drills-") as folder:
        for name, drill in _all(Path(folder), arguments.seed).items():
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
