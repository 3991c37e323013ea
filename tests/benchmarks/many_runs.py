"""CPU seconds and memory of plans of 1,000 and of 10,000 runs that do nothing.

Each command is a process of its own; its worker processes are included. A run's cost is what the
command takes beyond the same command when all is done, which reads and checks the same. Folders are
in memory where that is possible, so that a disk's own work for files and syncs does not count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.config.run import RunConfig
from common.experiment import Context, Experiment

_PROJECT = Path(__file__).resolve().parents[2]
_COUNTS = (1_000, 10_000)


class TrivialConfig(RunConfig):
    """Keys of a run that does nothing."""

    number: int = 0
    """Score of the run."""


def run(config: TrivialConfig, context: Context) -> float:
    """Make a run without torch."""
    return config.number


def preflight(runs: object) -> list[object]:
    """Return no problem."""
    return []


TRIVIAL = Experiment(
    config=TrivialConfig,
    run="tests.benchmarks.many_runs:run",
    preflight="tests.benchmarks.many_runs:preflight",
)


@dataclass(frozen=True)
class Usage:
    """Use of a command and its worker processes."""

    cpu: float
    """User and system time, in seconds."""
    memory: float
    """Largest resident memory of the command's own process, in MB."""


def main(counts: Sequence[int] = _COUNTS) -> None:
    """Print a line per size of plan."""
    for count in counts:
        check = _checked(count)
        print(f"{count:,} runs: check and expand {check:.2f} s of CPU")
        for name, scheduling in (
            ("in process", {}), ("two workers", {"multiprocess": True, "num_parallel": 2}),
        ):  # fmt: skip
            _print_commands(name, count, scheduling)


def _print_commands(name: str, count: int, scheduling: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory(dir=_place()) as folder:
        path = Path(folder) / "plan.json"
        path.write_text(json.dumps(plan_of(count) | scheduling))
        dry = command(path, "--dry_run")
        made = command(path)
        status, again = command(path, "--status"), command(path)
    print(f"  {name}: {1000 * (made.cpu - again.cpu) / count:.2f} ms of CPU per run, "
          f"memory {made.memory:.0f} MB, --dry_run {dry.cpu:.1f} s, --status {status.cpu:.1f} s, "
          f"all done {again.cpu:.1f} s")  # fmt: skip


def _place() -> str | None:
    """Return the folder of a disk in memory, or None for that of temporary files."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def plan_of(count: int) -> dict[str, object]:
    """Return a plan of ``count`` runs."""
    return {
        "experiment": f"custom:{__name__}:TRIVIAL",
        "configurations": [
            {"base_config": {"random_seed": 0}, "options": {"number": list(range(count))}}
        ],
        "figures": [],
        "report": False,
    }


def command(path: Path, *flags: str) -> Usage:
    """Run ``run_plan.py`` for the plan in ``path``; return its use."""
    process = subprocess.Popen(
        [sys.executable, _PROJECT / "run_plan.py", "--plan_config_path", path, *flags],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(_PROJECT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, found = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{flags or 'the command'} ended with {process.returncode}"
    return Usage(found.ru_utime + found.ru_stime, found.ru_maxrss / 1000)


_CHECK = """
import sys, time
from pathlib import Path
from common.experiment import EXPERIMENTS
from common.plan.load import load_plan
import grue, sft_vs_rft, tests.benchmarks.many_runs
started = time.process_time()
load_plan(Path(sys.argv[1]), EXPERIMENTS)
print(time.process_time() - started)
"""


def _checked(count: int) -> float:
    """Return the CPU seconds for reading, expanding and checking a plan, imports not counted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        path.write_text(json.dumps(plan_of(count)))
        done = subprocess.run(
            [sys.executable, "-c", _CHECK, path], cwd=_PROJECT, check=True, capture_output=True
        )
    return float(done.stdout)
